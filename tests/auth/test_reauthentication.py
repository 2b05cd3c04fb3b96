"""The calls that ask for the current password: PATCH and DELETE of /me, PUT of /me/password."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import bcrypt
import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.passwords import PasswordHasher
from config import Settings
from tests.support import PASSWORD
from tests.support.actor import (
    ME,
    ME_PASSWORD,
    NEW_PASSWORD,
    TOKEN_INVALID,
    WRONG_PASSWORD,
    Actor,
    ClientOf,
    Refusal,
    bearer,
    refusal,
)
from tests.support.apps import fill_every_hash_slot
from tests.support.database import Sql
from tests.support.guarded_calls import PASSWORD_CALLS
from tests.support.races import wait_until_blocked
from tests.support.rows import stored

PASSWORD_REFUSED = (403, "wrong_password", None)
STRONGER_HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()


@contextmanager
def change_under_way(settings: Settings, statement: str) -> Iterator[Callable[[], None]]:
    """Run `statement` but do not commit it; yield a function that commits once the service waits."""
    other = psycopg2.connect(settings.db_url)

    def commit_once_awaited() -> None:
        wait_until_blocked(settings.db_url, 1)
        other.commit()

    try:
        with other.cursor() as cur:
            cur.execute("SELECT FROM users FOR UPDATE")
            cur.execute(statement)
        yield commit_once_awaited
    finally:
        other.close()


def send_during(settings: Settings, statement: str, call: Callable[[], Any]) -> Any:
    """Make a call that waits for `statement`, commit the statement, and return the answer."""
    with ThreadPoolExecutor(1) as threads, change_under_way(settings, statement) as commit_once_awaited:
        future = threads.submit(call)
        commit_once_awaited()
        return future.result()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("PATCH", ME, {"username": "countess", "current_password": WRONG_PASSWORD}, id="PATCH"),
        pytest.param(
            "PUT", ME_PASSWORD, {"current_password": WRONG_PASSWORD, "new_password": NEW_PASSWORD}, id="PUT"
        ),
        pytest.param("DELETE", ME, {"password": WRONG_PASSWORD}, id="DELETE"),
    ],
)
def test_wrong_password_is_logged_with_the_user_but_no_secret(
    ada: Actor, log_lines: list[dict[str, Any]], method: str, path: str, body: object
) -> None:
    ada.send(method, path, body)

    warnings = [line["message"] for line in log_lines if line["level"] == "WARNING"]
    assert warnings == [f"wrong_password user_id={ada.id}"]
    secrets = (WRONG_PASSWORD, NEW_PASSWORD, ada.token)
    assert not [secret for secret in secrets if secret in str(log_lines)]


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_success_logs_no_secret(
    ada: Actor, log_lines: list[dict[str, Any]], method: str, path: str, body: object
) -> None:
    answer = ada.send(method, path, body)

    assert answer.status_code in (200, 204)
    secrets = (PASSWORD, NEW_PASSWORD, ada.token, "$2b$")
    assert not [secret for secret in secrets if secret in str(log_lines)]


@pytest.mark.parametrize(("method", "path", "_body"), PASSWORD_CALLS)
@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        pytest.param({"data": "{"}, 415, "unsupported_media_type", id="no type"),
        pytest.param({"data": "{", "content_type": "application/json"}, 400, "invalid_json", id="half"),
        pytest.param({"json": []}, 400, "invalid_json", id="list"),
        pytest.param({"json": {"password": "x" * 70_000}}, 413, "body_too_large", id="large"),
    ],
)
def test_call_with_a_bad_body_is_refused(
    client: FlaskClient,
    ada: Actor,
    sql: Sql,
    method: str,
    path: str,
    _body: object,
    sent: dict[str, Any],
    status: int,
    code: str,
) -> None:
    before = stored(sql)

    answer = client.open(path, method=method, headers=bearer(ada.token), **sent)

    assert refusal(answer) == (status, code, None)
    assert stored(sql) == before


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_call_while_every_hash_slot_is_taken_is_busy(
    client_of: ClientOf, ada: Actor, sql: Sql, method: str, path: str, body: object
) -> None:
    client = client_of()
    fill_every_hash_slot(client.application)
    before = stored(sql)

    answer = ada.through(client).send(method, path, body)

    assert refusal(answer) == (503, "busy", None)
    assert stored(sql) == before


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_call_whose_hash_is_replaced_by_a_stronger_one_of_the_password_succeeds(
    ada: Actor, settings: Settings, sql: Sql, method: str, path: str, body: object
) -> None:
    """Another login strengthened the hash between the check and the statement."""
    replacement = f"UPDATE users SET password = '{STRONGER_HASH}'"

    answer = send_during(settings, replacement, lambda: ada.send(method, path, body))

    assert answer.status_code in (200, 204)
    assert sql("SELECT username, password FROM users") != [("ada", STRONGER_HASH)]


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        pytest.param("UPDATE users SET password = 'another'", PASSWORD_REFUSED, id="another hash"),
        pytest.param(
            f"UPDATE users SET password = '{STRONGER_HASH}'; DELETE FROM auth_sessions",
            TOKEN_INVALID,
            id="stronger hash, session ended",
        ),
        pytest.param("DELETE FROM users", TOKEN_INVALID, id="user deleted"),
    ],
)
def test_call_whose_credential_ends_while_it_is_checked_is_refused(
    ada: Actor,
    settings: Settings,
    sql: Sql,
    method: str,
    path: str,
    body: object,
    meanwhile: str,
    expected: Refusal,
) -> None:
    answer = send_during(settings, meanwhile, lambda: ada.send(method, path, body))

    assert refusal(answer) == expected
    assert sql("SELECT username FROM users WHERE username <> 'ada'") == []


def test_password_change_of_a_session_that_ends_while_it_is_checked_is_401(
    ada: Actor, settings: Settings, sql: Sql
) -> None:
    before = sql("SELECT password FROM users")

    answer = send_during(settings, "DELETE FROM auth_sessions", ada.change_password)

    assert refusal(answer) == TOKEN_INVALID
    assert sql("SELECT password FROM users") == before


@pytest.fixture
def ada_with_a_hash_that_always_changes(
    ada: Actor, app: Flask, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> Actor:
    """A user whose hash is replaced after each check of the password, by another hash of that password."""
    hasher: PasswordHasher = app.extensions["auth"].passwords
    verify = hasher.verify

    def verify_and_replace(password: str, stored: str | None) -> bool:
        is_right = verify(password, stored)
        sql("UPDATE users SET password = %s", hasher.hash(PASSWORD))
        return is_right

    monkeypatch.setattr(hasher, "verify", verify_and_replace)
    return ada


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_call_whose_hash_is_replaced_twice_is_403(
    ada_with_a_hash_that_always_changes: Actor, method: str, path: str, body: object
) -> None:
    answer = ada_with_a_hash_that_always_changes.send(method, path, body)

    assert refusal(answer) == PASSWORD_REFUSED


def test_login_whose_hash_is_replaced_twice_is_401(ada_with_a_hash_that_always_changes: Actor) -> None:
    answer = ada_with_a_hash_that_always_changes.try_log_in()

    assert refusal(answer)[:2] == (401, "invalid_credentials")
