"""Races of the calls that ask for the password and a code: replays, and what changes after the proof."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bcrypt
import pytest
from flask import Flask

from config import Settings
from tests.support import PASSWORD
from tests.support.actor import ME, TOKEN_INVALID, Actor, Refusal, refusal
from tests.support.database import Sql, held_open
from tests.support.guarded_calls import PASSWORD_CALLS
from tests.support.races import at_once, deadlocks, statuses, wait_for_both, wait_until_blocked
from tests.support.second_factors import (
    App,
    disable,
    enrol,
    has_used_step,
    log_in,
    second_step,
    ticket_of,
    used_recovery_codes,
)
from tests.support.throttling import codes

CODE_INVALID: Refusal = (403, "code_invalid", None)
STRONGER_HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """The app of ada, whose second factor is on."""
    return enrol(ada, sql)


def rename(user: Actor, **fields: object) -> Any:
    return user.change_profile(username="countess", current_password=PASSWORD, **fields)


def send_during(settings: Settings, statement: str, user: Actor, *call: Any) -> Any:
    """Make a call that waits for `statement` once its password and its code are proved."""
    with ThreadPoolExecutor(1) as threads:
        with held_open(settings.db_url, f"SELECT FROM users FOR UPDATE; {statement}", commit=True):
            future = threads.submit(user.send, *call)
            wait_until_blocked(settings.db_url, 1)
        return future.result()


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        pytest.param("UPDATE users SET password = 'x'", (403, "wrong_password", None), id="another hash"),
        pytest.param(
            f"UPDATE users SET password = '{STRONGER_HASH}'; DELETE FROM auth_sessions",
            TOKEN_INVALID,
            id="stronger hash, session ended",
        ),
        pytest.param("UPDATE auth_second_factors SET secret = 'x'", CODE_INVALID, id="another secret"),
        pytest.param(
            "UPDATE auth_second_factors SET last_step = 9999999999", CODE_INVALID, id="step used by another"
        ),
    ],
)
def test_call_that_is_refused_after_the_proof_uses_no_code_up(
    ada: Actor,
    phone: App,
    settings: Settings,
    sql: Sql,
    method: str,
    path: str,
    body: dict[str, str],
    meanwhile: str,
    expected: Refusal,
) -> None:
    before = sql("SELECT last_step, recovery_hashes FROM auth_second_factors")

    answer = send_during(settings, meanwhile, ada, method, path, body | {"code": phone.code()})

    assert refusal(answer) == expected
    assert sql("SELECT username FROM users") == [("ada",)]
    if "last_step" not in meanwhile:
        assert sql("SELECT last_step, recovery_hashes FROM auth_second_factors") == before


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS[1:])
def test_call_of_a_session_that_ends_after_the_proof_uses_no_code_up(
    ada: Actor, phone: App, settings: Settings, sql: Sql, method: str, path: str, body: dict[str, str]
) -> None:
    ended = "DELETE FROM auth_sessions"

    answer = send_during(settings, ended, ada, method, path, body | {"code": phone.code()})

    assert refusal(answer) == TOKEN_INVALID
    assert not has_used_step(sql)


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
@pytest.mark.parametrize("name", ["code", "recovery_code"])
def test_call_whose_hash_is_strengthened_meanwhile_succeeds_with_one_code(
    ada: Actor,
    phone: App,
    settings: Settings,
    sql: Sql,
    method: str,
    path: str,
    body: dict[str, str],
    name: str,
) -> None:
    sent = {"code": phone.code(), "recovery_code": phone.recovery_codes[0]}[name]
    replacement = f"UPDATE users SET password = '{STRONGER_HASH}'"

    answer = send_during(settings, replacement, ada, method, path, body | {name: sent})

    assert answer.status_code in (200, 204)
    if method != "DELETE":
        assert used_recovery_codes(sql) == (name == "recovery_code")


@pytest.mark.parametrize("is_login_first", [True, False])
@pytest.mark.parametrize("name", ["code", "recovery_code"])
def test_of_a_call_and_a_login_at_once_with_one_code_the_first_succeeds(
    app: Flask, ada: Actor, phone: App, settings: Settings, sql: Sql, is_login_first: bool, name: str
) -> None:
    sent = {name: {"code": phone.code(), "recovery_code": phone.recovery_codes[0]}[name]}
    ticket, other = ticket_of(ada), app.test_client()
    calls = [lambda: rename(ada, **sent), lambda: second_step(other, ticket, **sent)]
    first, second = reversed(calls) if is_login_first else calls

    answers = wait_for_both(settings.db_url, first, second, held="SELECT FROM users FOR UPDATE")

    assert codes(answers) == ["", "code_invalid"]
    assert answers[1].status_code == (403 if is_login_first else 401)


def test_of_a_login_and_a_change_of_the_password_with_one_code_one_succeeds(
    app: Flask, ada: Actor, phone: App, settings: Settings, sql: Sql
) -> None:
    code, ticket, other = phone.code(), ticket_of(ada), app.test_client()

    answers = wait_for_both(
        settings.db_url,
        lambda: second_step(other, ticket, code=code),
        lambda: ada.change_password(code=code),
        held="SELECT FROM users FOR UPDATE",
    )

    assert codes(answers) == ["", "code_invalid"]
    assert log_in(ada, phone.code(steps=1)).status_code == 200  # with the old password


def test_calls_at_once_never_deadlock(app: Flask, ada: Actor, phone: App, settings: Settings) -> None:
    users = [ada.through(app.test_client()) for _ in range(5)]
    sent = [{"recovery_code": code} for code in phone.recovery_codes]
    runner = app.test_cli_runner()
    ticket = ticket_of(ada)
    before = deadlocks(settings.db_url)

    answers = at_once(
        lambda: rename(users[0], **sent[0]),
        lambda: users[1].change_password(**sent[1]),
        lambda: users[2].send("DELETE", ME, {"password": PASSWORD} | sent[2]),
        lambda: disable(users[3], **sent[3]),
        lambda: second_step(users[4].client, ticket, **sent[4]),
        lambda: runner.invoke(args=["user", "reset-2fa", ada.email]),
    )

    assert not [status for status in statuses(answers[:-1]) if status >= 500]
    assert deadlocks(settings.db_url) == before
