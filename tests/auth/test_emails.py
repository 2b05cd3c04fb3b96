"""The SQL on auth_emails."""

from datetime import datetime, timedelta, timezone

import pytest
from flask import Flask

from auth import emails
from auth.principal import Principal
from db import Database
from tests.support.actor import Actor
from tests.support.database import Sql
from tests.support.verification import OTHER, addresses

NOW = datetime.now(timezone.utc)


@pytest.fixture
def service(app: Flask) -> Database:
    database: Database = app.extensions["auth"].database
    return database


@pytest.fixture
def principal(ada: Actor) -> Principal:
    now = datetime.now(timezone.utc)
    return Principal(ada.id, ada.session_id, now, now + timedelta(seconds=1))


def test_user_without_a_row_has_verified_nothing(ada: Actor, sql: Sql) -> None:
    assert addresses(sql) == ("ada@example.com", None, None)
    assert ada.me().get_json()["email_verified"] is False


def test_verified_address_counts_as_long_as_it_is_exactly_the_email(
    service: Database, ada: Actor, sql: Sql
) -> None:
    service.write(emails.set_verified, ada.id, "ada@example.com")
    seen = [ada.me().get_json()["email_verified"]]
    for email in ("Ada@example.com", "else@example.com", "ada@example.com"):
        sql("UPDATE users SET email = %s", email)
        seen.append(ada.me().get_json()["email_verified"])

    assert seen == [True, False, False, True]


def test_verification_replaces_what_was_verified_and_ends_the_wait(
    service: Database, principal: Principal, sql: Sql
) -> None:
    service.write(emails.set_verified, principal.user_id, "old@example.com")
    service.write(emails.set_pending, principal, OTHER, password_hash=None)

    service.write(emails.set_verified, principal.user_id, "ada@example.com")

    assert addresses(sql) == ("ada@example.com", "ada@example.com", None)


def test_pending_address_leaves_the_verified_one(service: Database, principal: Principal, sql: Sql) -> None:
    service.write(emails.set_verified, principal.user_id, "ada@example.com")

    user_ids = [
        service.write(emails.set_pending, principal, email, password_hash=None)
        for email in ("first@example.com", OTHER)
    ]

    assert user_ids == [principal.user_id] * 2
    assert addresses(sql) == ("ada@example.com", "ada@example.com", OTHER)


def test_none_ends_the_wait(service: Database, principal: Principal, sql: Sql) -> None:
    service.write(emails.set_verified, principal.user_id, "ada@example.com")
    service.write(emails.set_pending, principal, OTHER, password_hash=None)

    service.write(emails.set_pending, principal, None, password_hash=None)

    assert addresses(sql) == ("ada@example.com", "ada@example.com", None)


def test_pending_address_takes_the_verified_hash(service: Database, principal: Principal, sql: Sql) -> None:
    [(password_hash,)] = sql("SELECT password FROM users")

    replaced = service.write(emails.set_pending, principal, OTHER, password_hash="replaced")
    before = addresses(sql)
    stored = service.write(emails.set_pending, principal, OTHER, password_hash=password_hash)

    assert (replaced, before) == (None, ("ada@example.com", None, None))
    assert (stored, addresses(sql)) == (principal.user_id, ("ada@example.com", None, OTHER))


def test_ended_session_sets_no_pending_address(
    service: Database, principal: Principal, ada: Actor, sql: Sql
) -> None:
    ada.log_out()

    assert service.write(emails.set_pending, principal, OTHER, password_hash=None) is None
    assert addresses(sql) == ("ada@example.com", None, None)


def test_deletion_of_a_user_deletes_what_is_known_of_the_addresses(
    service: Database, ada: Actor, sql: Sql
) -> None:
    service.write(emails.set_verified, ada.id, "ada@example.com")

    ada.delete()

    assert sql("SELECT * FROM auth_emails") == []
