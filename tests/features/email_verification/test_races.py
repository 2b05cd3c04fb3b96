"""Verification, changes and the deletion of one user at once, and what happens between two statements."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import bcrypt
import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth import emails
from config import Settings
from db import Cursor
from tests.support import PASSWORD
from tests.support.actor import NEW_PASSWORD, TOKEN_INVALID, Actor, refusal
from tests.support.database import Sql
from tests.support.races import at_once, deadlocks, statuses, wait_for_both, wait_until_blocked
from tests.support.verification import OTHER, addresses, change_email, new_token, queued, resend, verify

THIRD = "ada@example.net"
# What a user does beside a verification; each from a session of its own.
CALLS: dict[str, Callable[[Actor], Any]] = {
    "change the password": lambda user: user.change_password(),
    "delete": lambda user: user.delete(),
    "resend": resend,
    "change the email": lambda user: change_email(user, THIRD),
    "keep the email": lambda user: user.change_profile(email=user.email),
    "log in": lambda user: user.try_log_in(),
    "refresh": lambda user: user.try_refresh(),
    "revoke the others": lambda user: user.revoke_other_sessions(),
}


@pytest.fixture
def pending(service: Flask, ada: Actor) -> str:
    """The token of a link to ada's pending address."""
    change_email(ada)
    return new_token(service)


@pytest.mark.parametrize("name", CALLS)
def test_verification_against_another_call_is_whole_or_nothing(
    settings: Settings, service: Flask, sql: Sql, name: str
) -> None:
    before = deadlocks(settings.db_url)
    for n in range(6):
        user = Actor(service.test_client(), f"user{n}").register()
        change_email(user, f"new{n}@example.com")
        token = new_token(service)
        other = user.elsewhere().through(service.test_client())

        verification, again, *others = at_once(
            *[partial(verify, service.test_client(), token)] * 2,
            partial(CALLS[name], other),
            partial(resend, user.through(service.test_client())),
            partial(user.through(service.test_client()).change_password, NEW_PASSWORD + "2"),
        )

        assert max(statuses([verification, again, *others])) < 500
        verifications = statuses([verification, again])
        assert verifications[200] <= 1
        assert verifications.keys() <= {200, 400}
        state = addresses(sql, f"user{n}")
        if state and verifications[200]:
            assert state[:2] == (f"new{n}@example.com",) * 2
        elif state:
            assert state[:2] == (f"user{n}@example.com", None)
        sql("DELETE FROM users")
    assert deadlocks(settings.db_url) == before


@pytest.mark.parametrize("name", ["change the password", "change the email", "delete"])
def test_verification_that_meets_another_write_at_the_row_of_the_user_is_no_deadlock(
    settings: Settings, service: Flask, ada: Actor, pending: str, name: str
) -> None:
    before = deadlocks(settings.db_url)

    other, verification = wait_for_both(
        settings.db_url,
        partial(CALLS[name], ada.through(service.test_client())),
        partial(verify, service.test_client(), pending),
        held=f"SELECT FROM users WHERE id = {ada.id} FOR UPDATE",
    )

    assert (other.status_code, verification.status_code) in [(200, 200), (200, 400), (204, 400)]
    assert deadlocks(settings.db_url) == before


def test_link_that_a_change_of_the_email_voids_meanwhile_changes_nothing(
    settings: Settings, service: Flask, ada: Actor, pending: str, sql: Sql
) -> None:
    """The verification has found its token and waits for the row of the user (TOCTOU)."""
    change, verification = wait_for_both(
        settings.db_url,
        partial(change_email, ada.through(service.test_client()), THIRD),
        partial(verify, service.test_client(), pending),
        held=f"SELECT FROM users WHERE id = {ada.id} FOR UPDATE",
    )

    assert (change.status_code, verification.status_code) == (200, 400)
    assert addresses(sql) == ("ada@example.com", None, THIRD)


def test_resend_of_a_user_who_is_deleted_meanwhile_is_401(
    settings: Settings, service: Flask, ada: Actor
) -> None:
    with closing(psycopg2.connect(settings.db_url)) as conn, ThreadPoolExecutor(1) as threads:
        conn.cursor().execute("DELETE FROM users")
        answer = threads.submit(resend, ada.through(service.test_client()))
        wait_until_blocked(settings.db_url, 1)
        conn.commit()

    assert refusal(answer.result()) == TOKEN_INVALID


def before_pending(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have `act` run once, before the statement that stores a pending address."""
    store, acts = emails.set_pending, [act]

    def act_and_store(cur: Cursor, *args: Any, **kwargs: Any) -> Any:
        if acts:
            acts.pop()()
        return store(cur, *args, **kwargs)

    monkeypatch.setattr(emails, "set_pending", act_and_store)


@pytest.mark.parametrize(
    ("password", "status", "stored"),
    [
        pytest.param(PASSWORD, 200, OTHER, id="by a login that strengthens it"),
        pytest.param(NEW_PASSWORD, 403, None, id="by a new password"),
    ],
)
def test_change_of_the_email_proves_the_password_again_if_the_hash_was_replaced(
    monkeypatch: pytest.MonkeyPatch, ada: Actor, sql: Sql, password: str, status: int, stored: str | None
) -> None:
    new_hash = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    before_pending(monkeypatch, lambda: sql("UPDATE users SET password = %s", new_hash))
    sql("DELETE FROM auth_outbox")

    answer = change_email(ada)

    assert answer.status_code == status
    assert (addresses(sql) or ())[2] == stored
    assert len(queued(sql)) == (stored is not None)


def test_session_that_is_revoked_between_two_statements_stores_nothing(
    monkeypatch: pytest.MonkeyPatch, ada: Actor, sql: Sql
) -> None:
    store = emails.set_pending

    def store_and_revoke(*args: Any, **kwargs: Any) -> Any:
        user_id = store(*args, **kwargs)
        sql("DELETE FROM auth_sessions")
        return user_id

    monkeypatch.setattr(emails, "set_pending", store_and_revoke)
    sql("DELETE FROM auth_outbox")

    answer = change_email(ada, username="countess")

    assert refusal(answer) == TOKEN_INVALID
    assert addresses(sql) == ("ada@example.com", None, None)
    assert queued(sql) == []


def test_registration_that_takes_the_address_at_the_same_time_leaves_one_owner(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    for n in range(5):
        email = f"wanted{n}@example.com"
        change_email(ada, email)
        token = new_token(service)
        bob = Actor(service.test_client(), f"bob{n}")
        body = {"username": bob.username, "email": email, "password": PASSWORD}

        answers = at_once(
            partial(verify, service.test_client(), token),
            partial(bob.send, "POST", "/api/auth/register", body),
        )

        assert sorted(answer.status_code for answer in answers) in ([200, 409], [201, 409])
        assert sql("SELECT count(*) FROM users WHERE email = %s", email) == [(1,)]
