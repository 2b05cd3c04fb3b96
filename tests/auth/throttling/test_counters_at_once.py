"""Charges at the same moment: exact, and without deadlock."""

import time
from collections.abc import Iterator

import pytest

from auth.throttling import counters, limits
from auth.throttling.counters import Charge, Charged
from db import Database, DatabaseUnavailable
from runtime.deadline_cursor import STATEMENT_SECONDS
from runtime.settings import Rate
from tests.support.budgets import a_charge
from tests.support.database import held_open, run_sql
from tests.support.races import at_once

THREADS, CHARGES = 8, 50


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, pool_size=THREADS)
    database.apply_schema()
    run_sql(url, "DELETE FROM auth_throttle")
    yield database
    database.close()


def allowed(database: Database, charges: list[Charge], tries: int = CHARGES) -> int:
    """Charge `tries` times, and return how often that was allowed."""
    return sum(bool(database.write(counters.charge, charges)) for _ in range(tries))


@pytest.mark.parametrize("count", [1, 37])
def test_many_threads_get_exactly_the_count_of_a_budget(database: Database, count: int) -> None:
    one = a_charge("a", Rate(count, "31d"))

    totals = at_once(*[lambda: allowed(database, [one])] * THREADS)

    assert sum(totals) == count


def test_lock_begins_once_for_many_threads(database: Database) -> None:
    one = a_charge("a", Rate(9999, "31d"), max_failures=37)
    begun: list[Charged] = []

    def charge() -> None:
        for _ in range(CHARGES):
            charged = database.write(counters.charge, [one])
            begun.extend(each for each in charged if each.begins_lock())

    at_once(*[charge] * THREADS)

    assert len(begun) == 1


def test_refunds_leave_exactly_the_charges_that_were_kept(database: Database, url: str) -> None:
    rate = Rate(999, "31d")
    one = a_charge("a", rate, max_failures=9999)

    def charge_and_keep_every_fifth() -> None:
        for number in range(CHARGES):
            charged = database.write(counters.charge, [one])
            if number % 5:
                database.write(counters.settle, refunds=charged, fill=[], unlock=[])

    at_once(*[charge_and_keep_every_fifth] * THREADS)

    kept = THREADS * CHARGES // 5
    [(full_in, failures, locked)] = run_sql(
        url, "SELECT full_at - clock_timestamp(), failures, locked FROM auth_throttle"
    )
    assert round(full_in / limits.emission_interval(rate)) == kept
    assert (failures, locked) == (kept, False)


def test_refusals_at_once_of_one_new_key_all_get_their_balance(database: Database) -> None:
    """Race: a refused charge creates the row of the new key while another one reads it."""
    used_up, new = a_charge("address", Rate(1, "1h")), a_charge("account", Rate(9, "1h"), max_failures=9)
    assert allowed(database, [used_up], 1) == 1

    def refuse() -> int:
        for _ in range(CHARGES):
            assert not database.write(counters.charge, [used_up, new])
            balances = database.write(counters.refused, [used_up, new])
            assert [each.seconds_to_wait() > 0 for each in balances if each.charge is used_up] == [True]
        return CHARGES

    assert at_once(*[refuse] * THREADS) == [CHARGES] * THREADS


def test_opposite_orders_of_keys_are_no_deadlock(database: Database, url: str) -> None:
    charges = [a_charge(f"key {number}", Rate(9999, "31d")) for number in range(5)]

    def settle(keys: list[Charge]) -> int:
        for _ in range(CHARGES):
            charged = database.write(counters.charge, keys)
            database.write(counters.settle, refunds=charged[3:], fill=["key 0"], unlock=["key 1"])
        return CHARGES

    def forget() -> int:
        for _ in range(CHARGES):
            database.write(counters.forget, "key")
        return CHARGES

    calls = [lambda: allowed(database, charges), lambda: allowed(database, charges[::-1])]
    calls += [lambda: settle(charges), lambda: settle(charges[::-1]), forget]

    assert at_once(*calls) == [CHARGES] * len(calls)


def test_budget_that_somebody_has_locked_refuses_before_the_deadline_of_statements(
    database: Database, url: str
) -> None:
    allowed(database, [a_charge("a", Rate(9, "1h"))], 1)

    started = time.monotonic()
    with held_open(url, "SELECT FROM auth_throttle FOR UPDATE"), pytest.raises(DatabaseUnavailable):
        database.write(counters.charge, [a_charge("a", Rate(9, "1h")), a_charge("b", Rate(9, "1h"))])

    assert time.monotonic() - started < STATEMENT_SECONDS
    assert run_sql(url, "SELECT key FROM auth_throttle") == [("a",)]
    assert allowed(database, [a_charge("a", Rate(9, "1h"))], 1) == 1
