"""The budgets in PostgreSQL: charged all or none, and given back."""

import pytest

from db import Database
from runtime.settings import Rate
from tests.support.budgets import (
    HOUR,
    a_charge,
    allowed,
    charge,
    full_in,
    is_charged,
    moved,
    refused,
    rows,
    settle,
)
from tests.support.database import Sql
from tests.support.throttling import elapse


@pytest.mark.parametrize("rate", [Rate(7, "10h"), Rate(6, "10d"), Rate(1, "31d"), Rate(999, "31d")], ids=str)
def test_budget_allows_exactly_its_count_and_one_more_after_the_wait(
    database: Database, sql: Sql, rate: Rate
) -> None:
    one = a_charge("a", rate)
    burst = allowed(database, one)
    [balance] = refused(database, one)
    wait = balance.seconds_to_wait()

    elapse(sql, wait - 2)
    early = is_charged(database, one)
    elapse(sql, 2)
    later = allowed(database, one)

    assert (burst, early, later) == (rate.count, False, 1)


def test_refused_charge_takes_nothing_from_any_budget(database: Database, sql: Sql) -> None:
    used_up, other = a_charge("b", Rate(1, "1h")), a_charge("a", HOUR, max_failures=9)
    charge(database, used_up)
    before = full_in(sql, "b")

    balances = refused(database, used_up, other)

    assert [(each.charge.key, each.seconds_to_wait() > 0) for each in balances] == [("b", True)]
    assert full_in(sql, "b") == before
    assert allowed(database, other) == HOUR.count
    assert [row for row in rows(sql) if row[0] == "a"] == [("a", HOUR.count, False)]


def test_refund_undoes_a_charge(database: Database, sql: Sql) -> None:
    one = a_charge("a", HOUR, max_failures=9)
    charge(database, one)
    [charged] = charge(database, one)

    settle(database, charged)

    assert full_in(sql, "a") == 3600
    assert rows(sql) == [("a", 1, False)]


@pytest.mark.parametrize(
    ("passed_seconds", "full_in_seconds"),
    [
        pytest.param(600, 2 * 3600 - 600, id="nothing of it has recovered"),
        pytest.param(2 * 3600 + 600, 0, id="a part of it has recovered"),
        pytest.param(3 * 3600, 0, id="all of it has recovered"),
        pytest.param(9 * 3600, 0, id="it recovered long ago"),
    ],
)
def test_refund_gives_back_what_is_left_of_the_charge(
    database: Database, sql: Sql, passed_seconds: int, full_in_seconds: int
) -> None:
    *_, [charged] = [charge(database, a_charge("a", HOUR)) for _ in range(3)]
    elapse(sql, passed_seconds)

    settle(database, moved(charged, passed_seconds))

    assert max(0, full_in(sql, "a")) == full_in_seconds
    after = allowed(database, a_charge("a", HOUR))
    assert after == HOUR.count - -(-full_in_seconds // 3600)


def test_late_refund_takes_nothing_off_a_later_charge(database: Database, sql: Sql) -> None:
    [first] = charge(database, a_charge("a", HOUR))
    elapse(sql, 3 * 3600)
    charge(database, a_charge("a", HOUR))

    settle(database, moved(first, 3 * 3600))

    assert full_in(sql, "a") == 3600


def test_refund_of_a_budget_that_was_filled_meanwhile_adds_nothing(database: Database, sql: Sql) -> None:
    [charged] = charge(database, a_charge("a", HOUR, max_failures=2))
    settle(database, fill=["a"])

    settle(database, charged)

    assert rows(sql) == []
    assert allowed(database, a_charge("a", HOUR)) == HOUR.count


def test_refused_charge_leaves_no_row_behind(database: Database, sql: Sql) -> None:
    """Attack: an address whose budget is used up sends a new identifier with every request."""
    used_up = a_charge("address", Rate(1, "1h"))
    charge(database, used_up)

    for number in range(5):
        refused(database, used_up, a_charge(f"account {number}", HOUR, max_failures=9))

    assert rows(sql) == [("address", 0, False)]


def test_refused_charge_keeps_rows_that_are_full_again(database: Database, sql: Sql) -> None:
    used_up, failed = a_charge("address", Rate(1, "31d")), a_charge("account", HOUR, max_failures=9)
    charge(database, used_up, failed)
    elapse(sql, 3 * 3600)

    refused(database, used_up, failed)

    assert rows(sql) == [("account", 1, False), ("address", 0, False)]
