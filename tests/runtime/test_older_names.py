"""Users of an older table: names that differ only in case, and names that the rules of today refuse."""

from typing import Any

import pytest

from db import Database, SchemaError
from tests.support.actor import REGISTER, Actor
from tests.support.apps import client_on, messages
from tests.support.database import MakeDatabase, run_sql
from tests.support.older_tables import INSERT, OLDER_HASH, OLDER_TABLE
from tests.support.registrations import ADA


def test_older_database_keeps_working_untouched(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, OLDER_TABLE)
    run_sql(url, INSERT, "Grace Hopper", "Grace@Example.com", OLDER_HASH)
    run_sql(url, "UPDATE users SET created_at = '2024-05-06 07:08:09+02'")
    stored = run_sql(url, "SELECT * FROM users")

    grace = Actor(client_on(url)).log_in(username="", email="grace@example.com")
    grace.log_in(username="grace hopper")

    assert grace.pair["user"]["created_at"] == "2024-05-06T05:08:09.000Z"
    assert run_sql(url, "SELECT * FROM users") == stored


def test_names_that_differ_only_in_case_are_reported_by_row(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, OLDER_TABLE)
    for username, email in [("bob", "a@example.com"), ("BOB", "b@example.com"), ("eve", "A@example.com")]:
        run_sql(url, INSERT, username, email, OLDER_HASH)

    with pytest.raises(SchemaError) as caught:
        Database(url).apply_schema()

    assert "the usernames of users 1, 2" in str(caught.value)
    assert "the emails of users 1, 3" in str(caught.value)
    assert "example.com" not in str(caught.value)


def test_service_on_names_that_differ_only_in_case_is_unhealthy_until_mended(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, log_lines: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr("runtime.schema_state.SCHEMA_RETRY_SECONDS", 0.0)
    url = make_database()
    run_sql(url, OLDER_TABLE)
    run_sql(url, INSERT, "bob", "a@example.com", OLDER_HASH)
    run_sql(url, INSERT, "BOB", "b@example.com", OLDER_HASH)
    client = client_on(url)
    bob = Actor(client, "bob")

    before = client.get("/health"), bob.try_log_in()
    run_sql(url, "UPDATE users SET username = 'bob2' WHERE id = 2")
    after = client.get("/health"), bob.try_log_in()

    health = before[0].get_json()
    assert [answer.status_code for answer in before] == [503, 503]
    assert health["database"] == "connected"
    assert (
        health["error"]
        == "The schema cannot be applied: some users differ only in case; the log has their ids."
    )
    errors = messages(log_lines, "ERROR")
    assert len(errors) == 3  # at the start, from /health, from the login
    assert all("the usernames of users 1, 2" in error for error in errors)
    assert not [error for error in errors if "PostgreSQL runs" in error]
    assert [answer.status_code for answer in after] == [200, 200]


def test_email_of_one_user_that_is_the_username_of_another_logs_its_owner_in(
    make_database: MakeDatabase,
) -> None:
    url = make_database()
    run_sql(url, OLDER_TABLE)
    run_sql(url, INSERT, "ada@example.com", "squatter@example.com", OLDER_HASH)
    run_sql(url, INSERT, "ada", "ada@example.com", OLDER_HASH)

    owner = Actor(client_on(url)).log_in(username="", email="ada@example.com")

    assert owner.id == 2


def test_database_that_cannot_hold_a_character_refuses_it(make_database: MakeDatabase) -> None:
    url = make_database("TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    client = client_on(url)

    refused = client.post(REGISTER, json=ADA | {"first_name": "日本"})
    stored = client.post(REGISTER, json=ADA | {"first_name": "Zoë"})

    assert (refused.status_code, refused.get_json()["code"]) == (400, "validation_failed")
    assert (stored.status_code, stored.get_json()["user"]["first_name"]) == (201, "Zoë")
