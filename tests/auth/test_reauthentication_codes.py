"""The calls that ask for the password ask for a code as well, once a second factor is on."""

from typing import Any

import pytest

from auth.two_factor.verification import CODE_REQUIRED
from tests.support import PASSWORD
from tests.support.actor import ME, WRONG_PASSWORD, Actor, ClientOf, Refusal, refusal
from tests.support.apps import messages
from tests.support.database import Sql
from tests.support.guarded_calls import PASSWORD_CALLS
from tests.support.rows import stored
from tests.support.second_factors import (
    WRONG_CODE,
    App,
    disable,
    enrol,
    has_used_step,
    second_step,
    set_up,
    stored_factors,
    ticket_of,
    used_recovery_codes,
)
from tests.support.throttling import codes, keys

CODE_INVALID: Refusal = (403, "code_invalid", None)


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """The app of ada, whose second factor is on. No budget is charged."""
    app = enrol(ada, sql)
    sql("DELETE FROM auth_throttle")
    return app


def rename(user: Actor, **fields: object) -> Any:
    return user.change_profile(username="countess", current_password=PASSWORD, **fields)


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
@pytest.mark.parametrize(
    "sent",
    [{}, {"code": "", "recovery_code": None}, {"code": "  ", "recovery_code": " "}],
    ids=["nothing", "empty", "blank"],
)
def test_call_without_a_code_is_403_and_names_the_field(
    ada: Actor, phone: App, sql: Sql, method: str, path: str, body: dict[str, str], sent: dict[str, Any]
) -> None:
    before = stored(sql), stored_factors(sql)

    answer = ada.send(method, path, body | sent)

    assert refusal(answer) == CODE_INVALID
    assert answer.get_json()["fields"] == {"code": CODE_REQUIRED}
    assert (stored(sql), stored_factors(sql)) == before
    assert keys(sql, "second factor") == []


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
@pytest.mark.parametrize("has_code", [False, True], ids=["no code", "right code"])
def test_wrong_password_stays_a_wrong_password(
    ada: Actor, phone: App, sql: Sql, method: str, path: str, body: dict[str, str], has_code: bool
) -> None:
    before = stored(sql), stored_factors(sql)
    body = {name: value.replace(PASSWORD, WRONG_PASSWORD) for name, value in body.items()}

    answer = ada.send(method, path, body | ({"code": phone.code()} if has_code else {}))

    assert refusal(answer) == (403, "wrong_password", None)
    assert (stored(sql), stored_factors(sql)) == before
    assert keys(sql, "second factor") == []


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({"code": WRONG_CODE}, id="code"),
        pytest.param({"code": "12345"}, id="five digits"),
        pytest.param({"recovery_code": "0AAAA-AAAAA"}, id="recovery code"),
        pytest.param({"recovery_code": "x"}, id="no recovery code"),
    ],
)
def test_wrong_code_is_403_and_logged_without_it(
    ada: Actor,
    phone: App,
    sql: Sql,
    log_lines: list[dict[str, Any]],
    method: str,
    path: str,
    body: dict[str, str],
    sent: dict[str, str],
) -> None:
    before = stored(sql), stored_factors(sql)

    answer = ada.send(method, path, body | sent)

    assert refusal(answer) == CODE_INVALID
    assert "fields" not in answer.get_json()
    assert (stored(sql), stored_factors(sql)) == before
    assert messages(log_lines, "WARNING") == [f"second_factor_failed user_id={ada.id}"]


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_code_of_another_user_is_403(
    ada: Actor, phone: App, sql: Sql, method: str, path: str, body: dict[str, str]
) -> None:
    other = enrol(Actor(ada.client, "bob").register(), sql)

    answers = [
        ada.send(method, path, body | {"code": other.code()}),
        ada.send(method, path, body | {"recovery_code": other.recovery_codes[0]}),
    ]

    assert [refusal(answer) for answer in answers] == [CODE_INVALID] * 2


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
@pytest.mark.parametrize("also", ["", "recovery_code"])
def test_right_code_is_enough_and_works_once(
    ada: Actor, phone: App, sql: Sql, method: str, path: str, body: dict[str, str], also: str
) -> None:
    """Of both, the code of the app counts; the recovery code stays good."""
    code, recovery_codes = phone.code(), {also: phone.recovery_codes[0]} if also else {}

    answer = ada.send(method, path, body | {"code": code} | recovery_codes)

    assert answer.status_code in (200, 204)
    if method == "DELETE":
        assert stored_factors(sql) == []
        return
    assert has_used_step(sql)
    assert used_recovery_codes(sql) == 0
    user = ada.holding(answer.get_json()) if method == "PUT" else ada
    user.password = body.get("new_password", PASSWORD)
    replayed = user.change_profile(username="replayed", current_password=user.password, code=code)
    assert refusal(replayed) == CODE_INVALID


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_recovery_code_is_enough_and_works_once(
    ada: Actor, phone: App, sql: Sql, method: str, path: str, body: dict[str, str]
) -> None:
    first = ada.change_profile(username="a", current_password=PASSWORD, recovery_code=phone.recovery_codes[3])
    replayed = ada.send(method, path, body | {"recovery_code": phone.recovery_codes[3]})

    answer = ada.send(method, path, body | {"recovery_code": phone.recovery_codes[4]})

    assert refusal(replayed) == CODE_INVALID
    assert {first.status_code, answer.status_code} <= {200, 204}
    assert used_recovery_codes(sql) == (0 if method == "DELETE" else 2)


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_of_both_a_wrong_code_of_the_app_counts(
    ada: Actor, phone: App, sql: Sql, method: str, path: str, body: dict[str, str]
) -> None:
    answer = ada.send(method, path, body | {"code": WRONG_CODE, "recovery_code": phone.recovery_codes[0]})

    assert refusal(answer) == CODE_INVALID
    assert used_recovery_codes(sql) == 0


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
@pytest.mark.parametrize("has_setup", [False, True], ids=["no factor", "a factor that is set up only"])
@pytest.mark.parametrize("name", ["code", "recovery_code"])
def test_code_of_a_user_without_a_factor_is_ignored(
    ada: Actor, sql: Sql, method: str, path: str, body: dict[str, str], has_setup: bool, name: str
) -> None:
    if has_setup:
        assert set_up(ada).status_code == 200

    answer = ada.send(method, path, body | {name: WRONG_CODE})

    assert answer.status_code in (200, 204)
    assert keys(sql, "second factor") == []


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_switched_off_no_code_is_asked_for(
    client_of: ClientOf, ada: Actor, phone: App, sql: Sql, method: str, path: str, body: dict[str, str]
) -> None:
    before = stored_factors(sql)

    answer = ada.through(client_of(two_factor=None)).send(method, path, body | {"code": WRONG_CODE})

    assert answer.status_code in (200, 204)
    assert stored_factors(sql) == ([] if method == "DELETE" else before)


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_other_secret_key_is_403_with_a_way_out(
    client_of: ClientOf,
    ada: Actor,
    phone: App,
    sql: Sql,
    log_lines: list[dict[str, Any]],
    method: str,
    path: str,
    body: dict[str, str],
) -> None:
    user = ada.through(client_of(secret_key="another-secret-key-" * 4)).refresh()
    before = stored(sql), stored_factors(sql)

    answers = [
        user.send(method, path, body | sent)
        for sent in ({"code": phone.code()}, {"recovery_code": phone.recovery_codes[0]})
    ]

    for answer in answers:
        assert refusal(answer) == CODE_INVALID
        assert "ask the operator of this service to reset your second factor" in answer.get_json()["error"]
    assert (stored(sql), stored_factors(sql)) == before
    [error] = messages(log_lines, "ERROR")
    assert error.split(":")[0] == f"second_factor_undecryptable user_id={ada.id}"
    assert "user reset-2fa NAME" in error


def test_failures_count_together_with_those_of_logins_and_other_calls(
    ada: Actor, phone: App, sql: Sql
) -> None:
    ticket = ticket_of(ada)
    failures = [rename(ada, code=WRONG_CODE), ada.change_password(recovery_code="0AAAA-AAAAA")]
    failures += [second_step(ada.client, ticket, code=WRONG_CODE), disable(ada, code=WRONG_CODE)]
    failures += [ada.send("DELETE", ME, {"password": PASSWORD, "code": WRONG_CODE})]

    beyond = [rename(ada, code=phone.code()), rename(ada, recovery_code=phone.recovery_codes[0])]
    beyond += [second_step(ada.client, ticket, code=phone.code())]

    assert codes(failures) == ["code_invalid"] * 5
    assert codes(beyond) == ["too_many_attempts"] * 3
    assert {answer.status_code for answer in beyond} == {429}
    assert not has_used_step(sql)


def test_wrong_code_leaves_the_budget_of_the_password_full(ada: Actor, phone: App, sql: Sql) -> None:
    """The password was right: its failures are forgotten, as those of a login are."""
    ada.change_profile(username="x", current_password=WRONG_PASSWORD)
    charged = keys(sql, "account")

    rename(ada, code=WRONG_CODE)

    assert len(charged) == 1
    assert keys(sql, "account") == []
    assert len(keys(sql, f"second factor {ada.id} ")) == 2


def test_wrong_password_and_right_password_give_back_no_failure_of_a_code(
    ada: Actor, phone: App, sql: Sql
) -> None:
    for _ in range(5):
        rename(ada, code=WRONG_CODE)
        ada.change_profile(username="x", current_password=WRONG_PASSWORD)
        rename(ada)

    assert codes([rename(ada, code=phone.code())]) == ["too_many_attempts"]
