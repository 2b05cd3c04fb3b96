"""`flask --app app user unlock NAME`."""

from typing import Any

import pytest
from flask import Flask

from runtime.settings import Rate
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import Actor, ClientOf
from tests.support.apps import NO_DATABASE, app_on, messages
from tests.support.database import Sql
from tests.support.throttling import client_at, codes, guess, keys


@pytest.fixture
def service(client_of: ClientOf, ada: Actor) -> Flask:
    """A service that locks ada at the first failure, of whomever."""
    return client_of(lockout_failures=1).application


def unlock(app: Flask, *names: str) -> tuple[int, str]:
    """Return the exit status and the output of the command."""
    result = app.test_cli_runner().invoke(args=["user", "unlock", *names])
    return result.exit_code, result.output


@pytest.mark.parametrize("name", ["ada", "ADA", " ada@example.com"])
def test_unlock_ends_every_lock_of_the_user_and_of_no_other(
    service: Flask, ada: Actor, sql: Sql, log_lines: list[dict[str, Any]], name: str
) -> None:
    device, bob = client_at(service, "192.0.2.1"), Actor(client_at(service), "bob").register()
    ada.through(device).log_in()
    guess(device)
    guess(client_at(service))
    guess(client_at(service, "192.0.2.1"))
    guess(client_at(service, "203.0.113.1"), username="bob")
    before = guess(device, password=PASSWORD) + guess(client_at(service), password=PASSWORD)

    outcome = unlock(service, name)

    after = guess(device, password=PASSWORD) + guess(client_at(service), password=PASSWORD)
    after += guess(client_at(service, "203.0.113.1"), username="bob", password=PASSWORD)
    assert outcome == (0, f"User {ada.id} (ada): every lock has ended. Limits reset: 3\n")
    assert codes(before + after) == ["too_many_attempts"] * 2 + ["", "", "too_many_attempts"]
    assert keys(sql, f"account {bob.id} ") == [f"account {bob.id} strangers"]
    assert f"account_unlocked user_id={ada.id}" in messages(log_lines, "INFO")


def test_unlock_makes_the_limits_available_again(client_of: ClientOf, ada: Actor) -> None:
    client = client_at(client_of(limit_account_failures=Rate(2, "31d")).application)
    guess(client, 2)

    unlock(client.application, "ada")

    assert codes(guess(client, 3)) == ["invalid_credentials"] * 2 + ["too_many_attempts"]


def test_unlock_of_a_user_without_a_lock_succeeds(app: Flask, ada: Actor) -> None:
    assert unlock(app, "ada") == (0, f"User {ada.id} (ada): every lock has ended. Limits reset: 0\n")


@pytest.mark.parametrize("name", ["nobody", "", "%", "ada\u00e9", "\udcff"])
def test_unlock_of_nobody_fails(app: Flask, ada: Actor, name: str) -> None:
    assert unlock(app, name) == (1, "Error: No user has this username or email.\n")


@pytest.mark.parametrize("name", ["zoe\u00a0k", "fam\u200d", "soft\u00adhy"])
def test_unlock_finds_a_name_of_an_earlier_version(app: Flask, ada: Actor, sql: Sql, name: str) -> None:
    sql("UPDATE users SET username = %s", name)

    assert unlock(app, name)[0] == 0


def test_unlock_without_a_name_tells_how_it_is_used(app: Flask) -> None:
    status, output = unlock(app)

    assert status == 2
    assert "Missing argument 'NAME'" in output


def test_unlock_without_a_database_is_one_sentence() -> None:
    status, output = unlock(app_on(NO_DATABASE), "ada")

    assert status == 1
    assert output.startswith("Error: ")
    assert output.count("\n") == 1
    assert "hunter2" not in output
    assert SECRET_KEY not in output
