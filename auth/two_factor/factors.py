"""The SQL on the table auth_second_factors; its rows are frozen dataclasses.

A transaction locks the row of the user before it changes a second factor, which prevents deadlocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from auth.principal import Principal
from db import Cursor


@dataclass(frozen=True)
class Factor:
    """The second factor of a user. last_step: the time step of the last code that was accepted, or -1.

    encrypted_secret: see auth.two_factor.encryption. recovery_hashes: by the index of the code, None in the
    place of a used one.
    """

    user_id: int
    encrypted_secret: bytes = field(repr=False)
    last_step: int
    recovery_hashes: tuple[bytes | None, ...] = field(repr=False)


@dataclass(frozen=True)
class State:
    """What a user has: a factor that is in force, one that is set up, or none.

    setup: None if there is none, or if it has expired.
    """

    is_on: bool
    setup: Factor | None


def find(cur: Cursor, user_id: int) -> Factor | None:
    """Return the second factor of a user. Returns None if none is in force."""
    cur.execute(
        """
        SELECT user_id, secret, last_step, recovery_hashes
        FROM auth_second_factors
        WHERE user_id = %s AND enabled_at IS NOT NULL
        """,
        (user_id,),
    )
    row = cur.fetchone()
    return _factor(*row) if row else None


def find_state(cur: Cursor, principal: Principal) -> State | None:
    """Return which second factor the principal's user has, on or set up.

    Returns None if the user is gone or the session has ended.
    """
    principal.execute(
        cur,
        """
        SELECT enabled_at IS NOT NULL, setup_expires_at > %(now)s, user_id, secret, last_step, recovery_hashes
        FROM principal
        LEFT JOIN auth_second_factors ON auth_second_factors.user_id = principal.id
        """,
    )
    row = cur.fetchone()
    if row is None:
        return None
    is_on, is_live, *columns = row
    return State(is_on, _factor(*columns) if is_live and not is_on else None)


def set_up(
    cur: Cursor, principal: Principal, encrypted_secret: bytes, *, password_hash: str, expires_at: datetime
) -> bool:
    """Store a secret that is not in force yet, in the place of an earlier one. expires_at: aware.

    Returns False if the user is gone, the session has ended, the verified hash was replaced, or a second
    factor is in force.
    """
    principal.execute(
        cur,
        """
        , owner AS (
            SELECT users.id
            FROM users
            JOIN principal USING (id)
            WHERE password = %(password_hash)s
            FOR NO KEY UPDATE OF users
        )
        INSERT INTO auth_second_factors (user_id, secret, recovery_hashes, setup_expires_at)
        SELECT id, %(secret)s, '{}', %(expires_at)s
        FROM owner
        ON CONFLICT (user_id) DO UPDATE
        SET secret = EXCLUDED.secret,
            setup_expires_at = EXCLUDED.setup_expires_at
        WHERE auth_second_factors.enabled_at IS NULL
        RETURNING user_id
        """,
        secret=encrypted_secret,
        password_hash=password_hash,
        expires_at=expires_at,
    )
    return cur.fetchone() is not None


def enable(
    cur: Cursor, principal: Principal, setup: Factor, *, step: int, recovery_hashes: Sequence[bytes]
) -> bool:
    """Put a factor in force that was set up. Call it in a transaction that has locked the user's row.

    step: the time step of the code that proved it. Returns False if the user is gone, the session has ended,
    or the setup was replaced or enabled meanwhile.
    """
    principal.execute(
        cur,
        """
        UPDATE auth_second_factors
        SET last_step = %(step)s,
            recovery_hashes = %(recovery_hashes)s,
            enabled_at = %(now)s
        FROM principal
        WHERE auth_second_factors.user_id = principal.id
          AND secret = %(secret)s
          AND enabled_at IS NULL
        RETURNING user_id
        """,
        secret=setup.encrypted_secret,
        step=step,
        recovery_hashes=list(recovery_hashes),
    )
    return cur.fetchone() is not None


def use_step(cur: Cursor, factor: Factor, step: int) -> bool:
    """Use up the code of a time step (compare and swap). Of two requests with one code one gets True."""
    cur.execute(
        """
        UPDATE auth_second_factors
        SET last_step = %(step)s
        WHERE user_id = %(user_id)s
          AND secret = %(encrypted_secret)s
          AND enabled_at IS NOT NULL
          AND last_step < %(step)s
        """,
        vars(factor) | {"step": step},
    )
    return cur.rowcount == 1


def use_recovery_hash(cur: Cursor, user_id: int, *, index: int, recovery_hash: bytes) -> int | None:
    """Use up a recovery code (compare and swap), and return how many are left.

    Returns None if it is no recovery code of the user any more. Of two requests with one code one gets a
    number.
    """
    cur.execute(
        """
        UPDATE auth_second_factors
        SET recovery_hashes[%(place)s] = NULL
        WHERE user_id = %(user_id)s
          AND enabled_at IS NOT NULL
          AND recovery_hashes[%(place)s] = %(recovery_hash)s
        RETURNING cardinality(array_remove(recovery_hashes, NULL))
        """,
        {"user_id": user_id, "place": index + 1, "recovery_hash": recovery_hash},
    )
    row = cur.fetchone()
    return row[0] if row else None


def replace_recovery_hashes(cur: Cursor, user_id: int, recovery_hashes: Sequence[bytes]) -> None:
    """Store the hashes of new recovery codes. The older codes are void."""
    cur.execute(
        "UPDATE auth_second_factors SET recovery_hashes = %s WHERE user_id = %s",
        (list(recovery_hashes), user_id),
    )


def void_setup(cur: Cursor, user_id: int) -> None:
    """Forget a secret that was set up and is not in force yet."""
    cur.execute("DELETE FROM auth_second_factors WHERE user_id = %s AND enabled_at IS NULL", (user_id,))


def remove(cur: Cursor, user_id: int) -> bool:
    """Delete the second factor of a user. Returns whether one was in force."""
    cur.execute(
        "DELETE FROM auth_second_factors WHERE user_id = %s RETURNING enabled_at IS NOT NULL", (user_id,)
    )
    return cur.fetchone() == (True,)


def purge(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Delete up to `at_most` setups that have expired, and return how many. Skips locked rows."""
    cur.execute(
        """
        WITH expired AS MATERIALIZED (
            SELECT user_id
            FROM auth_second_factors
            WHERE enabled_at IS NULL AND setup_expires_at <= %s
            LIMIT %s
            FOR UPDATE SKIP LOCKED
        )
        DELETE FROM auth_second_factors
        USING expired
        WHERE auth_second_factors.user_id = expired.user_id
        """,
        (now, at_most),
    )
    return cur.rowcount


def _factor(
    user_id: int, secret: memoryview, last_step: int, recovery_hashes: list[memoryview | None]
) -> Factor:
    hashes = tuple(None if each is None else bytes(each) for each in recovery_hashes)
    return Factor(user_id, bytes(secret), last_step, hashes)
