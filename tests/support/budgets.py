"""Budgets without the service: a model of one, and the calls on the table auth_throttle."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from math import ceil

from hypothesis import HealthCheck, settings

from auth.throttling import counters, limits
from auth.throttling.counters import Balance, Charge, Charged
from db import Database
from runtime.settings import Rate
from tests.support.database import Sql

HOUR = Rate(3, "3h")  # one an hour, three at once

# 100 examples a test, the same in each run.
examples = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Bucket:
    """A token bucket in exact fractions: the model of a budget. Times are microseconds."""

    def __init__(self, rate: Rate) -> None:
        self._interval = limits.emission_interval(rate) // timedelta(microseconds=1)
        self._size = rate.count
        self._tokens, self._at = Fraction(rate.count), 0

    def seconds_to_wait(self, now: int) -> int:
        """Return after how many seconds the bucket has a token, rounded up."""
        self._tokens = min(Fraction(self._size), self._tokens + Fraction(now - self._at, self._interval))
        self._at = now
        return max(0, ceil((1 - self._tokens) * self._interval / 1_000_000))

    def take(self) -> None:
        self._tokens -= 1


def a_charge(key: str, rate: Rate, *, max_failures: int = 0) -> Charge:
    return Charge(key, rate, "rate_limited", max_failures)


def charge(database: Database, *charges: Charge) -> list[Charged]:
    """Make all charges, in the order of their keys. Returns [] if they are refused."""
    return sorted(database.write(counters.charge, charges), key=lambda each: each.charge.key)


def is_charged(database: Database, *charges: Charge) -> bool:
    return bool(charge(database, *charges))


def refused(database: Database, *charges: Charge) -> list[Balance]:
    """Make charges that are refused; return the balances in the order of their keys."""
    assert not is_charged(database, *charges)
    return sorted(database.write(counters.refused, charges), key=lambda each: each.charge.key)


def settle(
    database: Database, *refunds: Charged, fill: Sequence[str] = (), unlock: Sequence[str] = ()
) -> None:
    database.write(counters.settle, refunds=refunds, fill=fill, unlock=unlock)


def allowed(database: Database, each: Charge) -> int:
    """Return how many charges a budget allows at once, and use it up."""
    count = 0
    while count <= each.rate.count and is_charged(database, each):
        count += 1
    return count


def full_in(sql: Sql, key: str) -> float:
    """Return the seconds until a budget is full, rounded to a minute."""
    [(seconds,)] = sql(
        "SELECT extract(epoch FROM full_at - clock_timestamp()) FROM auth_throttle WHERE key = %s", key
    )
    return round(float(seconds) / 60) * 60


def moved(charged: Charged, seconds: float) -> Charged:
    """Return a charge as `elapse` moves its row."""
    return replace(charged, full_at=charged.full_at - timedelta(seconds=seconds))


def rows(sql: Sql) -> list[tuple[object, ...]]:
    return sql("SELECT key, failures, locked FROM auth_throttle ORDER BY key")
