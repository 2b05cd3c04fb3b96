"""Locks after failures in a row, what ends them, and which rows a purge keeps."""

import pytest

from auth.throttling import counters
from auth.throttling.counters import Charge
from db import Database
from runtime import clock
from runtime.settings import Rate
from tests.support.budgets import (
    HOUR,
    a_charge,
    allowed,
    charge,
    is_charged,
    refused,
    rows,
    settle,
)
from tests.support.database import Sql
from tests.support.throttling import elapse


def test_key_is_locked_after_its_failures_in_a_row_although_the_budget_refills(
    database: Database, sql: Sql
) -> None:
    one = a_charge("a", Rate(2, "2h"), max_failures=3)
    charges = []
    for _ in range(3):
        charges += charge(database, one)
        elapse(sql, 2 * 3600)

    [balance] = refused(database, one)

    assert [charged.begins_lock() for charged in charges] == [False, False, True]
    assert (balance.is_locked, balance.seconds_to_wait()) == (True, 0)
    assert rows(sql) == [("a", 3, True)]


def test_lock_begins_at_the_next_failure_when_the_bound_is_lowered(database: Database, sql: Sql) -> None:
    for _ in range(3):
        charge(database, a_charge("a", Rate(9, "1h"), max_failures=100))

    [charged] = charge(database, a_charge("a", Rate(9, "1h"), max_failures=2))

    assert charged.begins_lock()
    assert rows(sql) == [("a", 4, True)]


def test_refund_of_the_charge_that_locked_ends_the_lock(database: Database, sql: Sql) -> None:
    one = a_charge("a", HOUR, max_failures=2)
    charge(database, one)
    [locking] = charge(database, one)

    settle(database, locking)

    assert rows(sql) == [("a", 1, False)]
    assert is_charged(database, one)


def test_key_without_a_bound_of_failures_is_never_locked(database: Database, sql: Sql) -> None:
    unbounded = a_charge("a", Rate(200, "1h"))
    charge(database, a_charge("a", Rate(200, "1h"), max_failures=1))

    assert allowed(database, unbounded) == 199
    assert rows(sql) == [("a", 1, False)]


def test_fill_forgets_a_lock_and_unlock_keeps_the_budget(database: Database, sql: Sql) -> None:
    for key in ("filled", "unlocked", "other"):
        charge(database, a_charge(key, Rate(1, "1h"), max_failures=1))

    settle(database, fill=["filled"], unlock=["unlocked"])

    assert rows(sql) == [("other", 1, True), ("unlocked", 0, False)]
    assert is_charged(database, a_charge("filled", Rate(1, "1h"), max_failures=1))
    assert not is_charged(database, a_charge("unlocked", Rate(1, "1h"), max_failures=1))


def test_forget_ends_with_the_beginning_of_the_key(database: Database, sql: Sql) -> None:
    names = ["account 7 strangers", "account 7 device ab", "account 70 strangers", "address 7"]
    for key in names:
        charge(database, a_charge(key, HOUR, max_failures=1))

    count = database.write(counters.forget, "account 7 ")

    assert count == 2
    assert [row[0] for row in rows(sql)] == ["account 70 strangers", "address 7"]


@pytest.fixture
def kept(database: Database, sql: Sql) -> dict[str, Charge]:
    """One budget of each kind: by key, the charge that it had."""
    charges = {
        "failed": a_charge("failed", HOUR, max_failures=9),
        "locked": a_charge("locked", HOUR, max_failures=1),
        "plain": a_charge("plain", HOUR),
    }
    charge(database, *charges.values())
    return charges


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        pytest.param(3590, ["failed", "locked", "plain"], id="before it is full"),
        pytest.param(3600, ["failed", "locked"], id="full"),
        pytest.param(3600 + 7 * 86400 - 10, ["failed", "locked"], id="almost 7 days later"),
        pytest.param(3600 + 7 * 86400 + 10, ["locked"], id="7 days later"),
        pytest.param(3600 + 1000 * 86400, ["locked"], id="1000 days later"),
    ],
)
def test_purge_keeps_failures_for_7_days_and_a_lock_for_ever(
    database: Database, sql: Sql, kept: dict[str, Charge], seconds: int, left: list[str]
) -> None:
    elapse(sql, seconds)

    count = database.write(counters.purge, now=clock.now(), at_most=9)

    assert [row[0] for row in rows(sql)] == left
    assert count == len(kept) - len(left)


def test_purge_removes_a_lock_of_a_cookie_or_a_session_that_must_be_over(
    database: Database, sql: Sql
) -> None:
    names = ["account 7 strangers", "account 7 addresses", "account 7 device ab", "account 7 session 1"]
    charge(database, *(a_charge(name, HOUR, max_failures=1) for name in names))

    elapse(sql, 366 * 86400)
    early = database.write(counters.purge, now=clock.now(), at_most=9)
    elapse(sql, 2 * 86400)
    late = database.write(counters.purge, now=clock.now(), at_most=9)

    assert (early, late) == (0, 2)
    assert [row[0] for row in rows(sql)] == ["account 7 addresses", "account 7 strangers"]


def test_purge_removes_no_more_than_asked_for(database: Database, sql: Sql) -> None:
    charge(database, *(a_charge(f"key {number}", HOUR) for number in range(30)))
    elapse(sql, 9 * 3600)

    count = database.write(counters.purge, now=clock.now(), at_most=20)

    assert (count, len(rows(sql))) == (20, 10)
