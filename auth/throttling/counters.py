"""The SQL on the table auth_throttle, whose rows are budgets; see auth.throttling.limits.

The clock of the database alone counts: the clocks of replicas differ. Each function sends one message to
PostgreSQL, which is one round trip, and one transaction unless the caller has begun one. Each function locks
rows in the order of their keys, which prevents deadlocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from auth.throttling import limits
from db import Cursor
from runtime.settings import Rate

FAILURES_KEPT = timedelta(days=7)  # after the moment at which the budget is full
# A lock of a cookie or a session. A cookie is valid for 180 days, a session for at most 366.
LOCKS_KEPT = timedelta(days=367)

# A row that somebody has locked keeps a request, and its pooled connection, waiting for this long at most.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms';"
# The first statement creates and locks every row: ON CONFLICT DO UPDATE locks a row even if its condition is
# false, and then writes nothing. The second statement sees the rows as they are once they are locked.
# PostgreSQL spends most of the time on planning: it plans VALUES and a plain UPDATE fast.
_CHARGE = """
    INSERT INTO auth_throttle (key)
    VALUES {keys}
    ON CONFLICT (key) DO UPDATE SET key = EXCLUDED.key WHERE FALSE;
    UPDATE auth_throttle
    SET full_at = GREATEST(full_at, statement_timestamp()) + emission_interval,
        failures = failures + (max_failures > 0)::INTEGER,
        locked = max_failures > 0 AND failures + 1 >= max_failures
    FROM (VALUES {charges}) AS charge (key, emission_interval, burst_tolerance, max_failures)
    WHERE auth_throttle.key = charge.key
      AND NOT EXISTS (
          SELECT
          FROM auth_throttle
          JOIN (VALUES {charges}) AS charge (key, emission_interval, burst_tolerance, max_failures)
              USING (key)
          WHERE locked AND max_failures > 0 OR full_at > statement_timestamp() + burst_tolerance
      )
    RETURNING auth_throttle.key, full_at, failures
"""
_DELETE_UNUSED = "DELETE FROM auth_throttle WHERE key = %s AND full_at = '-infinity';"
_BALANCES = """
    SELECT key, locked,
           (EXTRACT(EPOCH FROM GREATEST(full_at, now) - now) * 1000000)::BIGINT
    FROM auth_throttle
    CROSS JOIN statement_timestamp() AS now
    WHERE key = ANY (%s)
"""
_REFUND = """
    UPDATE auth_throttle
    SET full_at = full_at
            - LEAST(%s, GREATEST(%s - statement_timestamp(), INTERVAL '0')),
        failures = GREATEST(failures - %s, 0),
        locked = locked AND failures > %s
    WHERE key = %s;
"""
_FILL = "DELETE FROM auth_throttle WHERE key = %s;"
_UNLOCK = "UPDATE auth_throttle SET failures = 0, locked = FALSE WHERE key = %s AND (failures > 0 OR locked);"


@dataclass(frozen=True)
class Charge:
    """A charge to a budget.

    code: of the refusal. max_failures: in a row, then the key is locked; 0 stands for no limit.
    """

    key: str
    rate: Rate
    code: str
    max_failures: int = 0


@dataclass(frozen=True)
class Charged:
    """A charge that was made. full_at: when the budget is full now. failures: in a row, this one included."""

    charge: Charge
    full_at: datetime
    failures: int

    def begins_lock(self) -> bool:
        """Return whether the charge has locked the key."""
        return self.failures >= self.charge.max_failures > 0


@dataclass(frozen=True)
class Balance:
    """A budget as it is. full_in: the time until it is full."""

    charge: Charge
    full_in: timedelta
    is_locked: bool

    def seconds_to_wait(self) -> int:
        """Return the seconds until the rate allows the charge, 0 if it does so now."""
        return limits.seconds_to_wait(self.charge.rate, self.full_in)


def charge(cur: Cursor, charges: Sequence[Charge]) -> list[Charged]:
    """Make all of `charges`, or none if one of them is not allowed. Returns [] then."""
    by_key = {each.key: each for each in sorted(charges, key=lambda each: each.key)}
    marks = ", ".join(["%s"] * len(by_key))
    rows = [
        (each.key, limits.emission_interval(each.rate), limits.burst_tolerance(each.rate), each.max_failures)
        for each in by_key.values()
    ]
    statements = _LOCK_TIMEOUT + _CHARGE.format(keys=marks, charges=marks)
    cur.execute(statements, [*((key,) for key in by_key), *rows, *rows])
    return [Charged(by_key[key], full_at, failures) for key, full_at, failures in cur.fetchall()]


def refused(cur: Cursor, charges: Sequence[Charge]) -> list[Balance]:
    """Delete the rows that a refused charge has created, and return the balance of each other budget.

    Attack: an address whose budget is used up would add a row with every identifier that it makes up.
    """
    by_key = {each.key: each for each in charges}
    statements = _LOCK_TIMEOUT + _DELETE_UNUSED * len(by_key) + _BALANCES
    cur.execute(statements, [*sorted(by_key), list(by_key)])
    return [
        # In microseconds: psycopg2 reads an interval in one of PostgreSQL's styles only.
        Balance(by_key[key], timedelta(microseconds=full_in), is_locked and by_key[key].max_failures > 0)
        for key, is_locked, full_in in cur.fetchall()
    ]


def settle(cur: Cursor, *, refunds: Sequence[Charged], fill: Sequence[str], unlock: Sequence[str]) -> None:
    """Give charges back. One statement for each row, in the order of the keys.

    refunds: charges that are undone, each with the failure that it counted. A charge that the budget has
    recovered from gives nothing back. Race: if the budget was filled after the charge, the refund undoes a
    later charge. fill: keys whose budget becomes full, without failures and lock. unlock: keys whose failures
    and lock are forgotten, and whose budget stays as it is.
    """
    changes = [(each.charge.key, _REFUND, _refund_parameters(each)) for each in refunds]
    changes += [(key, _FILL, (key,)) for key in fill]
    changes += [(key, _UNLOCK, (key,)) for key in unlock]
    changes.sort()
    statements = "".join(statement for _, statement, _ in changes)
    cur.execute(_LOCK_TIMEOUT + statements, [each for _, _, parameters in changes for each in parameters])


def forget(cur: Cursor, prefix: str) -> int:
    """Fill every budget whose key begins with `prefix`, end its lock, and return how many there were.

    prefix: without the wildcards of LIKE, which uses the primary key because its collation is "C".
    """
    cur.execute(
        f"""
        {_LOCK_TIMEOUT}
        WITH budget AS MATERIALIZED (
            SELECT key
            FROM auth_throttle
            WHERE key LIKE %s
            ORDER BY key
            FOR UPDATE
        )
        DELETE FROM auth_throttle
        USING budget
        WHERE auth_throttle.key = budget.key
        """,
        (f"{prefix}%",),
    )
    return cur.rowcount


def purge(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Delete up to `at_most` budgets that are full, and return how many.

    A budget with failures stays for FAILURES_KEPT. A locked budget stays until its lock ends. One of a
    cookie or a session stays for LOCKS_KEPT. The search takes a while in a large table, so it locks nothing.
    The purge waits for no lock. now: aware.
    """
    cur.execute(
        """
        WITH old AS MATERIALIZED (
            SELECT key, full_at
            FROM auth_throttle
            CROSS JOIN LEAST(%(now)s, statement_timestamp()) AS now
            WHERE full_at <= now
              AND (NOT locked OR full_at <= now - %(locks_kept)s AND key ~ ' (device|session) ')
              AND (failures = 0 OR full_at <= now - %(failures_kept)s)
            LIMIT %(at_most)s
        ), unchanged AS MATERIALIZED (
            SELECT auth_throttle.key
            FROM auth_throttle
            JOIN old USING (key)
            WHERE auth_throttle.full_at = old.full_at
            FOR UPDATE OF auth_throttle SKIP LOCKED
        )
        DELETE FROM auth_throttle
        USING unchanged
        WHERE auth_throttle.key = unchanged.key
        """,
        {"now": now, "failures_kept": FAILURES_KEPT, "locks_kept": LOCKS_KEPT, "at_most": at_most},
    )
    return cur.rowcount


def _refund_parameters(refund: Charged) -> tuple[object, ...]:
    charge = refund.charge
    interval, counted_failures = limits.emission_interval(charge.rate), int(charge.max_failures > 0)
    return interval, refund.full_at, counted_failures, charge.max_failures, charge.key
