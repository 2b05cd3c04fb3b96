"""The SQL on the table auth_throttle, whose rows are budgets; see auth.throttling.limits.

The clock of the database alone counts: the clocks of replicas differ. Each function is one message to
PostgreSQL, and so one round trip and one transaction. Each locks rows in the order of their keys (no
deadlock).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from auth.throttling import limits
from db import Cursor, FeatureNotSupported, ReadOnly
from runtime.settings import Rate

# A budget that somebody has locked keeps a request, and its pooled connection, waiting for this long at most.
_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', '500ms', true);"
FAILURES_KEPT = timedelta(days=7)  # after the moment at which the budget is full


@dataclass(frozen=True)
class Charge:
    """A charge to a budget. max_failures: so many in a row lock the budget; 0 stands for no bound."""

    key: str
    rate: Rate
    max_failures: int = 0


@dataclass(frozen=True)
class Balance:
    """A budget as a charge found it, and as the charge left it.

    full_in: before the charge, the time until the budget is full. is_locked: before the charge. full_at and
    failures: after the charge, if all charges were allowed.
    """

    charge: Charge
    full_in: timedelta
    is_locked: bool
    full_at: datetime
    failures: int

    def is_allowed(self) -> bool:
        return not self.is_locked and self.seconds_to_wait() == 0

    def seconds_to_wait(self) -> int:
        """Return the seconds until the rate allows a charge, 0 if it does so now."""
        return limits.seconds_to_wait(self.charge.rate, self.full_in)

    def begins_lock(self) -> bool:
        """Return whether the charge, if it was allowed, has locked the budget."""
        return self.failures == self.charge.max_failures > 0


def charge(cur: Cursor, charges: Sequence[Charge]) -> list[Balance]:
    """Charge all of `charges`, or none if one of them is not allowed. Return a balance for each, by its key.

    The first statement creates and locks every row: an ON CONFLICT DO UPDATE locks a row also where its
    condition is false, and then writes nothing. The second statement sees the rows that are locked.
    """
    charges = sorted(charges, key=lambda each: each.key)
    try:
        cur.execute(
            f"""
            {_LOCK_TIMEOUT}
            INSERT INTO auth_throttle (key)
            SELECT unnest(%(keys)s::TEXT[])
            ON CONFLICT (key) DO UPDATE SET key = EXCLUDED.key WHERE FALSE;
            WITH moment AS MATERIALIZED (
                SELECT clock_timestamp() AS now
            ), balance AS (
                SELECT key, now, GREATEST(full_at, now) AS full_at, emission_interval,
                       failures + (max_failures > 0)::INTEGER AS failures, max_failures,
                       locked AND max_failures > 0 AS is_locked,
                       GREATEST(full_at, now) - now <= burst_tolerance AS has_budget
                FROM unnest(%(keys)s::TEXT[] COLLATE "C", %(intervals)s::INTERVAL[],
                            %(tolerances)s::INTERVAL[], %(max_failures)s::INTEGER[])
                    AS charge (key, emission_interval, burst_tolerance, max_failures)
                JOIN auth_throttle USING (key)
                CROSS JOIN moment
            ), charged AS (
                UPDATE auth_throttle
                SET full_at = balance.full_at + emission_interval,
                    failures = balance.failures,
                    locked = max_failures > 0 AND balance.failures >= max_failures
                FROM balance
                WHERE auth_throttle.key = balance.key
                  AND (SELECT bool_and(has_budget AND NOT is_locked) FROM balance)
            )
            SELECT (EXTRACT(EPOCH FROM full_at - now) * 1000000)::BIGINT, is_locked,
                   full_at + emission_interval, failures
            FROM balance
            ORDER BY key
            """,
            {
                "keys": [each.key for each in charges],
                "intervals": [limits.emission_interval(each.rate) for each in charges],
                "tolerances": [limits.burst_tolerance(each.rate) for each in charges],
                "max_failures": [each.max_failures for each in charges],
            },
        )
    except FeatureNotSupported as exc:
        raise ReadOnly("a standby has no unlogged tables") from exc
    # In microseconds: psycopg2 reads an interval in one of PostgreSQL's styles only.
    rows = [(timedelta(microseconds=full_in), *rest) for full_in, *rest in cur.fetchall()]
    return [Balance(each, *row) for each, row in zip(charges, rows, strict=True)]


def settle(cur: Cursor, *, refunds: Sequence[Balance], fill: Sequence[str], unlock: Sequence[str]) -> None:
    """Give charges back.

    refunds: charges that are undone, each with the failure that it counted. A charge that the budget has
    recovered from gives nothing back. fill: keys whose budget becomes full, without failures and lock.
    unlock: keys whose failures and lock are forgotten, and whose budget stays as it is.
    """
    cur.execute(
        f"""
        {_LOCK_TIMEOUT}
        SELECT FROM auth_throttle
        WHERE key = ANY (%(refunded)s::TEXT[] || %(fill)s::TEXT[] || %(unlock)s::TEXT[])
        ORDER BY key
        FOR UPDATE;
        UPDATE auth_throttle
        SET full_at = auth_throttle.full_at
                - LEAST(emission_interval, GREATEST(refund.full_at - clock_timestamp(), INTERVAL '0')),
            failures = GREATEST(failures - (max_failures > 0)::INTEGER, 0),
            locked = locked AND failures > max_failures
        FROM unnest(%(refunded)s::TEXT[] COLLATE "C", %(intervals)s::INTERVAL[], %(full_at)s::TIMESTAMPTZ[],
                    %(max_failures)s::INTEGER[])
            AS refund (key, emission_interval, full_at, max_failures)
        WHERE auth_throttle.key = refund.key;
        UPDATE auth_throttle SET failures = 0, locked = FALSE WHERE key = ANY (%(unlock)s::TEXT[]);
        DELETE FROM auth_throttle WHERE key = ANY (%(fill)s::TEXT[])
        """,
        {
            "refunded": [each.charge.key for each in refunds],
            "intervals": [limits.emission_interval(each.charge.rate) for each in refunds],
            "full_at": [each.full_at for each in refunds],
            "max_failures": [each.charge.max_failures for each in refunds],
            "fill": list(fill),
            "unlock": list(unlock),
        },
    )


def forget(cur: Cursor, prefix: str) -> int:
    """Fill every budget whose key begins with `prefix`, end its lock, and return how many there were."""
    cur.execute("DELETE FROM auth_throttle WHERE starts_with(key, %s)", (prefix,))
    return cur.rowcount


def purge(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Delete up to `at_most` budgets that are full, and return how many.

    A budget with failures stays for FAILURES_KEPT, a locked budget until its lock ends. Skips rows that
    another transaction holds. now: aware.
    """
    cur.execute(
        """
        WITH full_budget AS MATERIALIZED (
            SELECT key
            FROM auth_throttle
            WHERE full_at <= clock_timestamp()
              AND NOT locked
              AND (failures = 0 OR full_at <= %s)
            LIMIT %s
            FOR UPDATE SKIP LOCKED
        )
        DELETE FROM auth_throttle
        USING full_budget
        WHERE auth_throttle.key = full_budget.key
        """,
        (now - FAILURES_KEPT, at_most),
    )
    return cur.rowcount
