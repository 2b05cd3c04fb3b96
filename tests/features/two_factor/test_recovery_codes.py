"""POST /api/auth/2fa/recovery-codes: new recovery codes, for the password and a code of the app."""

import pytest

from tests.support.actor import VALIDATION_FAILED, WRONG_PASSWORD, Actor, refusal
from tests.support.database import Sql
from tests.support.second_factors import (
    WRONG_CODE,
    App,
    disable,
    enrol,
    log_in,
    renew,
    second_step,
    set_up,
    ticket_of,
)

CODE_INVALID = (400, "code_invalid", None)
ROWS = "SELECT auth_second_factors::TEXT FROM auth_second_factors"


@pytest.fixture
def app_of_ada(ada: Actor, sql: Sql) -> App:
    """An authenticator app of ada. No code of it is used up."""
    return enrol(ada, sql)


def test_new_codes_take_the_place_of_the_old(ada: Actor, app_of_ada: App) -> None:
    answer = renew(ada, code=app_of_ada.code())

    shown = answer.get_json()["recovery_codes"]
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert len({*shown, *app_of_ada.recovery_codes}) == 20
    refused = second_step(ada.client, ticket_of(ada), recovery_code=app_of_ada.recovery_codes[5])
    assert refusal(refused)[:2] == (401, "code_invalid")
    assert second_step(ada.client, ticket_of(ada), recovery_code=shown[5]).status_code == 200


def test_used_place_is_filled_again(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    second_step(ada.client, ticket_of(ada), recovery_code=app_of_ada.recovery_codes[0])

    renew(ada, code=app_of_ada.code())

    counted = "SELECT cardinality(recovery_hashes), array_position(recovery_hashes, NULL)"
    assert sql(f"{counted} FROM auth_second_factors") == [(10, None)]


def test_codes_of_the_app_and_sessions_go_on(ada: Actor, app_of_ada: App) -> None:
    renew(ada, code=app_of_ada.code())

    assert ada.is_live()
    assert log_in(ada, app_of_ada.code(steps=1)).status_code == 200


def test_code_is_used_up(ada: Actor, app_of_ada: App) -> None:
    code = app_of_ada.code()
    renew(ada, code=code)

    assert refusal(renew(ada, code=code)) == CODE_INVALID
    assert refusal(log_in(ada, code))[:2] == (401, "code_invalid")


def test_recovery_code_is_no_code_of_the_app(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    """Whoever found the sheet with the codes cannot make the owner's void."""
    recovery_code, before = app_of_ada.recovery_codes[0], sql(ROWS)

    as_itself, as_code = renew(ada, recovery_code=recovery_code), renew(ada, code=recovery_code)

    assert refusal(as_itself) == VALIDATION_FAILED
    assert as_itself.get_json()["fields"].keys() == {"code"}
    assert refusal(as_code) == CODE_INVALID
    assert sql(ROWS) == before


def test_wrong_password_is_403(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    before = sql(ROWS)

    assert refusal(renew(ada, password=WRONG_PASSWORD, code=app_of_ada.code())) == (
        403,
        "wrong_password",
        None,
    )
    assert sql(ROWS) == before


def test_wrong_code_is_400(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    before = sql(ROWS)

    assert refusal(renew(ada, code=WRONG_CODE)) == CODE_INVALID
    assert sql(ROWS) == before


@pytest.mark.parametrize("code", [None, "", "  ", 287082])
def test_missing_code_is_400_and_names_the_field(ada: Actor, app_of_ada: App, code: object) -> None:
    answer = renew(ada, code=code)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == {"code"}


@pytest.mark.parametrize("has_setup", [True, False], ids=["set up", "nothing"])
def test_without_a_factor_in_force_it_is_409(ada: Actor, sql: Sql, has_setup: bool) -> None:
    code = App.scanning(set_up(ada).get_json()).code() if has_setup else WRONG_CODE

    assert refusal(renew(ada, code=code)) == (409, "two_factor_off", None)


def test_new_codes_disable_the_factor(ada: Actor, app_of_ada: App) -> None:
    shown = renew(ada, code=app_of_ada.code()).get_json()["recovery_codes"]

    assert disable(ada, recovery_code=shown[9]).status_code == 204
