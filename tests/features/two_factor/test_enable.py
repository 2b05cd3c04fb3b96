"""POST /api/auth/2fa/enable: a code of the app puts the second factor in force."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from auth.tokens.one_time import Owner
from tests.support.actor import NEW_PASSWORD, VALIDATION_FAILED, Actor, ClientOf, refusal
from tests.support.apps import messages
from tests.support.database import Sql
from tests.support.mails import mail_settings
from tests.support.notices import details, notices
from tests.support.resets import reset, stored_token
from tests.support.second_factors import (
    ENABLE,
    WRONG_CODE,
    App,
    enable,
    enrol,
    first_step,
    log_in,
    second_step,
    set_up,
    ticket_of,
)
from tests.support.throttling import codes

CODE_INVALID = (400, "code_invalid", None)
SETUP_REQUIRED, TWO_FACTOR_ON = (409, "setup_required", None), (409, "two_factor_on", None)


@pytest.fixture
def app_of_ada(ada: Actor) -> App:
    """An authenticator app that ada has set up."""
    return App.scanning(set_up(ada).get_json())


def test_enable_answers_ten_recovery_codes(ada: Actor, app_of_ada: App) -> None:
    answer = enable(ada, app_of_ada.code())

    shown = answer.get_json()["recovery_codes"]
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert [code[0] for code in shown] == list("0123456789")
    assert all(re.fullmatch(r"\d[0-9a-hjkmnp-tv-z]{5}-[0-9a-hjkmnp-tv-z]{6}", code) for code in shown)


def test_enabled_factor_is_due_at_the_next_login(ada: Actor, app_of_ada: App) -> None:
    enable(ada, app_of_ada.code())

    answer = first_step(ada)

    assert (answer.status_code, answer.get_json()["code"]) == (401, "second_factor_required")
    assert log_in(ada, app_of_ada.code(steps=1)).status_code == 200


def test_me_shows_the_second_factor(ada: Actor, app_of_ada: App) -> None:
    before = ada.me().get_json()
    enable(ada, app_of_ada.code())

    assert ada.me().get_json() == before | {"two_factor": True}
    assert before["two_factor"] is False


def test_sessions_go_on(ada: Actor, app_of_ada: App) -> None:
    phone = ada.elsewhere()

    enable(ada, app_of_ada.code())

    assert ada.is_live()
    assert phone.is_live()
    assert [user.try_refresh().status_code for user in (ada, phone)] == [200, 200]


def test_code_that_enabled_it_is_used_up(ada: Actor, app_of_ada: App) -> None:
    code = app_of_ada.code()
    enable(ada, code)

    assert refusal(log_in(ada, code))[:2] == (401, "code_invalid")


def test_enable_without_a_setup_is_409(ada: Actor, sql: Sql) -> None:
    assert refusal(enable(ada, WRONG_CODE)) == SETUP_REQUIRED
    assert sql("SELECT count(*) FROM auth_throttle WHERE key LIKE 'second factor %%'") == [(0,)]


def test_enable_with_an_expired_setup_is_409(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    sql("UPDATE auth_second_factors SET setup_expires_at = now() - interval '1 s'")

    assert refusal(enable(ada, app_of_ada.code())) == SETUP_REQUIRED
    assert ada.me().get_json()["two_factor"] is False


def test_enable_shortly_before_the_setup_expires_succeeds(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    sql("UPDATE auth_second_factors SET setup_expires_at = now() + interval '10 s'")

    assert enable(ada, app_of_ada.code()).status_code == 200


def test_enable_twice_is_409(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    enable(ada, app_of_ada.code())
    row = sql("SELECT auth_second_factors::TEXT FROM auth_second_factors")

    assert refusal(enable(ada, app_of_ada.code(steps=1))) == TWO_FACTOR_ON
    assert sql("SELECT auth_second_factors::TEXT FROM auth_second_factors") == row


def test_enabled_factor_outlasts_its_setup(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    enable(ada, app_of_ada.code())
    sql("UPDATE auth_second_factors SET setup_expires_at = now() - interval '1 day'")

    assert refusal(enable(ada, app_of_ada.code(steps=1))) == TWO_FACTOR_ON
    assert log_in(ada, app_of_ada.code(steps=1)).status_code == 200


def test_enable_with_a_wrong_code_is_400_and_leaves_the_setup(ada: Actor, app_of_ada: App) -> None:
    assert refusal(enable(ada, WRONG_CODE)) == CODE_INVALID
    assert ada.try_log_in().status_code == 200
    assert enable(ada, app_of_ada.code()).status_code == 200


def test_enable_is_limited(ada: Actor, app_of_ada: App) -> None:
    answers = [enable(ada, WRONG_CODE) for _ in range(5)] + [enable(ada, app_of_ada.code())]

    assert codes(answers) == ["code_invalid"] * 5 + ["too_many_attempts"]
    assert answers[-1].status_code == 429
    assert ada.me().get_json()["two_factor"] is False


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param(" \t", id="blank"),
        pytest.param(287082, id="number"),
        pytest.param(["287082"], id="list"),
        pytest.param("28\x007082", id="NUL"),
    ],
)
def test_enable_without_a_text_is_400_and_no_failure(
    ada: Actor, app_of_ada: App, sql: Sql, code: object
) -> None:
    answer = enable(ada, code)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == {"code"}
    assert sql("SELECT count(*) FROM auth_throttle WHERE key LIKE 'second factor %%'") == [(0,)]


def test_enable_without_the_field_is_400(ada: Actor, app_of_ada: App) -> None:
    answer = ada.send("POST", ENABLE, {"recovery_code": "0aaaaa-aaaaaa"})

    assert refusal(answer) == VALIDATION_FAILED


def test_blanks_in_the_code_do_not_count(ada: Actor, app_of_ada: App) -> None:
    code = app_of_ada.code()

    assert enable(ada, f" {code[:3]} {code[3:]}\n").status_code == 200


def test_recovery_code_of_another_user_enables_nothing(
    ada: Actor, app_of_ada: App, client: FlaskClient
) -> None:
    bob = enrol(Actor(client, "bob").register())

    assert refusal(enable(ada, bob.recovery_codes[0])) == CODE_INVALID


def test_every_recovery_code_works(ada: Actor, app_of_ada: App, sql: Sql) -> None:
    shown = enable(ada, app_of_ada.code()).get_json()["recovery_codes"]

    answers = [second_step(ada.client, ticket_of(ada), recovery_code=code) for code in shown]

    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("has_mail", [True, False], ids=["mail on", "mail off"])
def test_owner_gets_a_notice(ada: Actor, client_of: ClientOf, sql: Sql, has_mail: bool) -> None:
    user = ada.through(client_of(mail=mail_settings() if has_mail else None))

    enrol(user)

    expected = [("two_factor_on", ada.id, ada.email)] if has_mail else []
    assert notices(sql) == expected
    assert [each.keys() >= {"time", "ip", "device"} for each in details(sql)] == [True] * has_mail


@pytest.mark.parametrize("way", ["change", "reset"])
def test_setup_is_void_after_another_password(client_of: ClientOf, sql: Sql, way: str) -> None:
    """Account takeover: who knew the old password may know the secret of a setup."""
    ada = Actor(client_of(mail=mail_settings())).register()
    app = App.scanning(set_up(ada).get_json())
    if way == "change":
        ada.pair |= ada.change_password().get_json()
    else:
        client = ada.client
        assert isinstance(client, FlaskClient)
        assert reset(client, stored_token(client, Owner(ada.id, ada.email))).status_code == 204
        ada.pair |= ada.try_log_in(password=NEW_PASSWORD).get_json()

    answer = enable(ada, app.code())

    assert refusal(answer) == SETUP_REQUIRED
    assert sql("SELECT count(*) FROM auth_second_factors") == [(0,)]


def test_setup_of_another_secret_key_is_begun_anew(ada: Actor, app_of_ada: App, client_of: ClientOf) -> None:
    user = ada.through(client_of(secret_key="another-secret-key-" * 4)).refresh()

    refused = enable(user, app_of_ada.code())
    newer = App.scanning(set_up(user).get_json())

    assert refusal(refused) == SETUP_REQUIRED
    assert enable(user, newer.code()).status_code == 200


def test_wrong_code_is_logged_without_the_code(
    ada: Actor, app_of_ada: App, log_lines: list[dict[str, Any]]
) -> None:
    enable(ada, WRONG_CODE)

    assert messages(log_lines, "WARNING") == [f"second_factor_failed user_id={ada.id}"]
