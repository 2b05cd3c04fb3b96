"""The lock after LOCKOUT_FAILURES in a row, and the log of it."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.throttling import counters, guard
from db import PoolFull
from runtime.settings import Rate
from tests.support import PASSWORD
from tests.support.actor import Actor, ClientOf
from tests.support.apps import messages
from tests.support.database import Sql
from tests.support.throttling import client_at, codes, elapse, guess, guess_patiently, keys

FAILED, REFUSED = "invalid_credentials", "too_many_attempts"


@pytest.fixture
def stranger(client_of: ClientOf, ada: Actor) -> FlaskClient:
    return client_at(client_of(lockout_failures=4).application)


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_default_lock_begins_after_100_failures_in_a_row(app: Flask, ada: Actor, sql: Sql, name: str) -> None:
    answers = []
    for _ in range(11):
        elapse(sql, 600)
        answers += guess(client_at(app), 10, username=name)

    assert codes(answers) == [FAILED] * 100 + [REFUSED] * 10
    assert answers[-1].get_json()["retry_after"] == 3600


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_no_time_ends_the_lock(stranger: FlaskClient, sql: Sql, name: str) -> None:
    guess_patiently(stranger, sql, 4, username=name)
    elapse(sql, 1000 * 86400)

    [wrong] = guess(stranger, username=name)
    [right] = guess(stranger, username=name, password=PASSWORD)

    assert codes([wrong, right]) == [REFUSED] * 2
    assert wrong.data == right.data


def test_success_of_a_stranger_before_the_lock_begins_the_count_anew(stranger: FlaskClient, sql: Sql) -> None:
    answers = guess_patiently(client_at(stranger.application, "198.51.100.1"), sql, 3)
    answers += guess(client_at(stranger.application, "198.51.100.2"), password=PASSWORD)
    answers += guess_patiently(client_at(stranger.application, "198.51.100.3"), sql, 5)

    assert codes(answers) == [FAILED] * 3 + [""] + [FAILED] * 4 + [REFUSED]


def test_right_password_at_the_last_attempt_before_the_lock_succeeds(stranger: FlaskClient, sql: Sql) -> None:
    guess_patiently(stranger, sql, 3)

    assert codes(guess(stranger, password=PASSWORD)) == [""]
    assert sql("SELECT key FROM auth_throttle WHERE locked") == []


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_zero_locks_nobody_and_frees_whom_an_earlier_setting_has_locked(
    client_of: ClientOf, stranger: FlaskClient, sql: Sql, name: str
) -> None:
    guess_patiently(stranger, sql, 5, username=name)
    lenient = client_at(client_of(lockout_failures=0).application)

    answers = guess_patiently(lenient, sql, 20, username=name)

    assert codes(answers) == [FAILED] * 20


def test_beginning_of_a_lock_is_logged_once(
    stranger: FlaskClient, ada: Actor, sql: Sql, log_lines: list[dict[str, Any]]
) -> None:
    guess_patiently(stranger, sql, 9)
    guess_patiently(stranger, sql, 9, username="nobody")

    [ada_locked, nobody_locked] = [
        line for line in messages(log_lines, "WARNING") if line.startswith("account_locked")
    ]
    assert ada_locked == f"account_locked account={ada.id} key='account {ada.id} strangers'"
    assert nobody_locked.startswith("account_locked account=None key='account ")


def test_right_password_at_the_last_attempt_logs_no_lock(
    stranger: FlaskClient, sql: Sql, log_lines: list[dict[str, Any]]
) -> None:
    guess_patiently(stranger, sql, 3)
    guess(stranger, password=PASSWORD)

    assert "account_locked" not in str(log_lines)


def test_refusals_are_logged_once_a_key_and_minute(
    client_of: ClientOf, ada: Actor, log_lines: list[dict[str, Any]]
) -> None:
    app = client_of(limit_account_failures=Rate(1, "1h"), limit_address_failures=Rate(3, "1h")).application
    client = client_at(app)
    guess(client, 5)
    guess(client, 5, username="nobody")
    guess(client, username="x")
    guess(client, 5, username="y")

    [account, nobody, address] = [
        line for line in messages(log_lines, "WARNING") if line.startswith("throttled")
    ]
    assert account == f"throttled key='account {ada.id} strangers' account={ada.id} wait=3600"
    assert nobody.startswith("throttled key='account ")
    assert nobody.endswith(" strangers' account=None wait=3600")
    assert address == "throttled key='address 198.51.100.7' account=None wait=1200"


def test_what_a_client_typed_is_neither_logged_nor_stored(
    stranger: FlaskClient, sql: Sql, log_lines: list[dict[str, Any]]
) -> None:
    typed = "hunter2-in-the-wrong-field"
    guess_patiently(stranger, sql, 6, username=typed, password="hunter2")
    guess(stranger, 12, username=typed.upper(), password="hunter2")

    assert "throttled" in str(log_lines)
    assert "account_locked" in str(log_lines)
    assert "hunter2" not in str(log_lines).lower()
    assert "hunter2" not in str(sql("SELECT auth_throttle::text FROM auth_throttle")).lower()


def test_success_is_given_back_although_the_pool_is_full_for_a_moment(
    app: Flask, ada: Actor, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = app.extensions["auth"].database
    write, failures = database.write, [PoolFull("full"), PoolFull("full")]

    def write_later(query: Any, *args: Any, **kwargs: Any) -> Any:
        if query is counters.settle and failures:
            raise failures.pop()
        return write(query, *args, **kwargs)

    monkeypatch.setattr(database, "write", write_later)
    monkeypatch.setattr(guard, "WRITE_PAUSES", (0.0, 0.0, 0.0))

    assert codes(guess(client_at(app), password=PASSWORD)) == [""]

    assert failures == []
    assert keys(sql, "account ") == []


def test_refusal_whose_budget_has_recovered_meanwhile_is_about_the_account(
    app: Flask, ada: Actor, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Race: the time between a refused charge and the look at the balances is enough."""
    stranger = client_at(app)
    guess(stranger, username="nobody")  # the row of the address is older than that of the account
    guess(stranger)
    database = app.extensions["auth"].database
    write = database.write

    def refuse(query: Any, *args: Any, **kwargs: Any) -> Any:
        return [] if query is counters.charge else write(query, *args, **kwargs)

    monkeypatch.setattr(database, "write", refuse)

    [answer] = guess(stranger)

    assert (codes([answer]), answer.get_json()["retry_after"]) == ([REFUSED], 1)
