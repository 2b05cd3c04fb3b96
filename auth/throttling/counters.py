"""The SQL on the table auth_throttle, whose rows are budgets; see auth.throttling.limits.

The clock of the database alone counts: the clocks of replicas differ. Each function sends one message to
PostgreSQL, which is one round trip and one transaction. Each function locks rows in the order of their keys,
which prevents deadlocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from auth.throttling import limits
from db import Cursor, FeatureNotSupported, ReadOnly
from runtime.settings import Rate

FAILURES_KEPT = timedelta(days=7)  # after the moment at which the budget is full

# A budget that somebody has locked keeps a request, and its pooled connection, waiting for this long at most.
_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', '500ms', true);"
# The first statement creates and locks every row: ON CONFLICT DO UPDATE locks a row even if its condition is
# false, and then writes nothing. The second statement sees the rows as they are once they are locked.
# VALUES takes PostgreSQL less time to plan than unnest().
_CHARGE = """
    INSERT INTO auth_throttle (key)
    VALUES {keys}
    ON CONFLICT (key) DO UPDATE SET key = EXCLUDED.key WHERE FALSE;
    WITH moment AS MATERIALIZED (
        SELECT clock_timestamp() AS now
    ), balance AS (
        SELECT key, now, GREATEST(full_at, now) AS full_at, emission_interval, max_failures,
               failures + (max_failures > 0)::INTEGER AS failures,
               locked AND max_failures > 0 AS is_locked,
               GREATEST(full_at, now) - now <= burst_tolerance AS has_budget
        FROM auth_throttle
        JOIN (VALUES {charges}) AS charge (key, emission_interval, burst_tolerance, max_failures) USING (key)
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
"""
_REFUND = """
    UPDATE auth_throttle
    SET full_at = full_at
            - LEAST(%(emission_interval)s, GREATEST(%(full_at)s - clock_timestamp(), INTERVAL '0')),
        failures = GREATEST(failures - %(counted_failures)s, 0),
        locked = locked AND failures > %(max_failures)s
    WHERE key = %(key)s;
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
class Balance:
    """A budget as a charge found it, and as the charge left it.

    full_in: the time until the budget was full before the charge. is_locked: before the charge. full_at and
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
        """Return whether the charge, if it was allowed, has locked the key."""
        return self.failures >= self.charge.max_failures > 0


def charge(cur: Cursor, charges: Sequence[Charge]) -> list[Balance]:
    """Charge all of `charges`, or none if one of them is not allowed. Return a balance for each."""
    charges = sorted(charges, key=lambda each: each.key)
    marks = ", ".join(["%s"] * len(charges))
    rows = [
        (each.key, limits.emission_interval(each.rate), limits.burst_tolerance(each.rate), each.max_failures)
        for each in charges
    ]
    statements = _LOCK_TIMEOUT + _CHARGE.format(keys=marks, charges=marks)
    try:
        cur.execute(statements, [*((each.key,) for each in charges), *rows])
    except FeatureNotSupported as exc:
        raise ReadOnly("a standby has no unlogged tables") from exc
    # In microseconds: psycopg2 reads an interval in one of PostgreSQL's styles only.
    balances = [(timedelta(microseconds=full_in), *rest) for full_in, *rest in cur.fetchall()]
    return [Balance(each, *balance) for each, balance in zip(charges, balances, strict=True)]


def settle(cur: Cursor, *, refunds: Sequence[Balance], fill: Sequence[str], unlock: Sequence[str]) -> None:
    """Give charges back. One statement for each row, in the order of the keys.

    refunds: charges that are undone, each with the failure that it counted. A charge that the budget has
    recovered from gives nothing back. fill: keys whose budget becomes full, without failures and lock.
    unlock: keys whose failures and lock are forgotten, and whose budget stays as it is.
    """
    statements = [(each.charge.key, _refund(cur, each)) for each in refunds]
    statements += [(key, cur.mogrify(_FILL, (key,))) for key in fill]
    statements += [(key, cur.mogrify(_UNLOCK, (key,))) for key in unlock]
    cur.execute(_LOCK_TIMEOUT.encode() + b"".join(statement for _, statement in sorted(statements)))


def forget(cur: Cursor, prefix: str) -> int:
    """Fill every budget whose key begins with `prefix`, end its lock, and return how many there were."""
    cur.execute(
        f"""
        {_LOCK_TIMEOUT}
        WITH budget AS MATERIALIZED (
            SELECT key
            FROM auth_throttle
            WHERE starts_with(key, %s)
            ORDER BY key
            FOR UPDATE
        )
        DELETE FROM auth_throttle
        USING budget
        WHERE auth_throttle.key = budget.key
        """,
        (prefix,),
    )
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


def _refund(cur: Cursor, balance: Balance) -> bytes:
    charge = balance.charge
    return cur.mogrify(
        _REFUND,
        {
            "emission_interval": limits.emission_interval(charge.rate),
            "full_at": balance.full_at,
            "counted_failures": int(charge.max_failures > 0),
            "max_failures": charge.max_failures,
            "key": charge.key,
        },
    )
