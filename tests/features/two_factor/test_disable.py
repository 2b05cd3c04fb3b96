"""POST /api/auth/2fa/disable: the password and a code remove the second factor."""

import pytest

from tests.support.actor import VALIDATION_FAILED, WRONG_PASSWORD, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.mails import mail_settings
from tests.support.notices import notices
from tests.support.second_factors import (
    WRONG_CODE,
    App,
    disable,
    enable,
    enrol,
    log_in,
    renew,
    second_step,
    set_up,
    ticket_of,
)
from tests.support.throttling import codes, elapse

CODE_INVALID, TWO_FACTOR_OFF = (400, "code_invalid", None), (409, "two_factor_off", None)
ROWS = "SELECT auth_second_factors::TEXT FROM auth_second_factors"


@pytest.fixture
def app_of_ada(ada: Actor, sql: Sql) -> App:
    """An authenticator app of ada. No code of it is used up."""
    return enrol(ada, sql)


def test_disable_with_a_code_removes_the_factor(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    answer = disable(ada, code=app_of_ada.code())

    assert (answer.status_code, answer.data) == (204, b"")
    assert ada.me().get_json()["two_factor"] is False
    assert ada.try_log_in().status_code == 200
    assert sql(ROWS) == []


def test_disable_with_a_recovery_code_removes_the_factor(ada: Actor, app_of_ada: App) -> None:
    answer = disable(ada, recovery_code=app_of_ada.recovery_codes[3])

    assert answer.status_code == 204
    assert ada.me().get_json()["two_factor"] is False


def test_sessions_go_on(ada: Actor, app_of_ada: App) -> None:
    disable(ada, code=app_of_ada.code())

    assert ada.is_live()
    assert ada.try_refresh().status_code == 200


def test_disable_with_a_wrong_password_is_403_and_tests_no_code(
    ada: Actor, app_of_ada: App, sql: Sql
) -> None:
    answers = [disable(ada, password=WRONG_PASSWORD, code=code) for code in (app_of_ada.code(), WRONG_CODE)]

    assert [refusal(answer) for answer in answers] == [(403, "wrong_password", None)] * 2
    assert sql("SELECT key FROM auth_throttle WHERE key LIKE 'second factor %%' AND full_at > now()") == []
    assert disable(ada, code=app_of_ada.code()).status_code == 204


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"code": WRONG_CODE}, id="wrong code"),
        pytest.param({"code": "12345"}, id="short code"),
        pytest.param({"recovery_code": "0aaaaa-aaaaaa"}, id="wrong recovery code"),
        pytest.param({"recovery_code": "x"}, id="no recovery code"),
        pytest.param({"code": WRONG_CODE, "recovery_code": "0aaaaa-aaaaaa"}, id="both"),
    ],
)
def test_disable_with_a_wrong_code_is_400_and_removes_nothing(
    ada: Actor, app_of_ada: App, sql: Sql, fields: dict[str, str]
) -> None:
    before = sql(ROWS)

    answer = disable(ada, **fields)

    assert refusal(answer) == CODE_INVALID
    assert sql(ROWS) == before


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="none"),
        pytest.param({"code": ""}, id="empty"),
        pytest.param({"code": " "}, id="blank"),
        pytest.param({"code": None, "recovery_code": None}, id="null"),
        pytest.param({"code": 287082}, id="number"),
    ],
)
def test_disable_without_a_code_is_400_and_names_the_field(
    ada: Actor, app_of_ada: App, fields: dict[str, object]
) -> None:
    answer = disable(ada, **fields)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == {"code"}


def test_code_counts_if_both_are_sent(ada: Actor, app_of_ada: App) -> None:
    answer = disable(ada, code=WRONG_CODE, recovery_code=app_of_ada.recovery_codes[0])

    assert refusal(answer) == CODE_INVALID


def test_disable_without_a_factor_is_409(ada: Actor) -> None:
    assert refusal(disable(ada, code=WRONG_CODE)) == TWO_FACTOR_OFF


def test_disable_of_a_setup_is_409_and_leaves_it(ada: Actor) -> None:
    app = App.scanning(set_up(ada).get_json())

    assert refusal(disable(ada, code=app.code())) == TWO_FACTOR_OFF
    assert enable(ada, app.code()).status_code == 200


def test_replayed_code_is_refused(ada: Actor, app_of_ada: App) -> None:
    code = app_of_ada.code()
    assert log_in(ada, code).status_code == 200

    assert refusal(disable(ada, code=code)) == CODE_INVALID


def test_code_that_enabled_it_is_refused(ada: Actor) -> None:
    app = App.scanning(set_up(ada).get_json())
    code = app.code()
    enable(ada, code)

    assert refusal(disable(ada, code=code)) == CODE_INVALID


def test_used_recovery_code_is_refused(ada: Actor, app_of_ada: App) -> None:
    recovery_code = app_of_ada.recovery_codes[0]
    assert second_step(ada.client, ticket_of(ada), recovery_code=recovery_code).status_code == 200

    assert refusal(disable(ada, recovery_code=recovery_code)) == CODE_INVALID


def test_tickets_are_void_afterwards(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    ticket = ticket_of(ada)

    disable(ada, code=app_of_ada.code())

    answer = second_step(ada.client, ticket, code=app_of_ada.code(steps=1))
    assert refusal(answer)[:2] == (401, "ticket_invalid")
    assert sql("SELECT * FROM auth_tickets") == []


def test_new_setup_makes_another_secret(ada: Actor, app_of_ada: App) -> None:
    disable(ada, code=app_of_ada.code())

    newer = enrol(ada)

    assert newer.secret != app_of_ada.secret
    assert refusal(disable(ada, code=app_of_ada.code(steps=1))) == CODE_INVALID
    assert refusal(disable(ada, recovery_code=app_of_ada.recovery_codes[1])) == CODE_INVALID
    assert disable(ada, code=newer.code(steps=1)).status_code == 204


def test_failures_of_all_calls_count_together(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    failures = [
        disable(ada, code=WRONG_CODE),
        disable(ada, recovery_code="0aaaaa-aaaaaa"),
        renew(ada, code=WRONG_CODE),
        log_in(ada, WRONG_CODE),
        renew(ada, code=WRONG_CODE),
    ]
    refused = [disable(ada, code=app_of_ada.code()), renew(ada, code=app_of_ada.code())]

    assert codes(failures) == ["code_invalid"] * 5
    assert codes(refused) == ["too_many_attempts"] * 2
    assert {answer.status_code for answer in refused} == {429}
    elapse(sql, 61)
    assert disable(ada, code=app_of_ada.code()).status_code == 204


def test_failures_to_enable_count_for_what_follows(ada: Actor, sql: Sql) -> None:
    app = App.scanning(set_up(ada).get_json())
    failures = [enable(ada, WRONG_CODE) for _ in range(4)]
    assert enable(ada, app.code()).status_code == 200

    answers = [disable(ada, code=WRONG_CODE), disable(ada, code=app.code(steps=1))]

    assert codes(failures) == ["code_invalid"] * 4
    assert codes(answers) == ["code_invalid", "too_many_attempts"]


@pytest.mark.parametrize("way", ["code", "recovery_code"])
def test_owner_gets_notices(ada: Actor, app_of_ada: App, client_of: ClientOf, sql: Sql, way: str) -> None:
    user = ada.through(client_of(mail=mail_settings()))
    code = app_of_ada.code() if way == "code" else app_of_ada.recovery_codes[0]

    disable(user, **{way: code})

    used = [] if way == "code" else ["recovery_code_used"]
    assert [kind for kind, *_ in notices(sql)] == [*used, "two_factor_off"]
