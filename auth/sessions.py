"""The SQL on the table auth_sessions; its rows are frozen dataclasses.

The order of locks is the same in every statement of the service, so that there is no deadlock: first the row
of the user, then the rows of sessions by their ids. A statement that locks several sessions locks the user
FOR KEY SHARE at least. The deletion of a user takes its sessions in any order, because it holds the lock of
the user. A statement that locks a single row holds no other lock while it waits. A purge never waits.

The columns handle_hash and valid_until keep the names that earlier releases read: they are the hash of the
selector and the idle expiry.
"""

from dataclasses import dataclass, field
from datetime import datetime

from auth.principal import Principal
from db import Cursor

MAX_LISTED = 200  # earlier versions had no limit of sessions


@dataclass(frozen=True)
class Session:
    """A session as its user sees it. Times are aware."""

    id: int
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ip: str
    user_agent: str


@dataclass(frozen=True)
class NewSession:
    """A session to create. Times are aware; idle_expires_at <= expires_at.

    idle_expires_at: the end of the session unless it is refreshed. expires_at: its end in any case.
    """

    selector_hash: bytes = field(repr=False)
    token_hash: bytes = field(repr=False)
    now: datetime
    idle_expires_at: datetime
    expires_at: datetime
    ip: str
    user_agent: str


@dataclass(frozen=True)
class SessionGrant:
    """A live session and its user: what tokens are issued for. idle_expires_at is aware."""

    id: int
    user_id: int
    email: str
    idle_expires_at: datetime


def create(
    cur: Cursor, user_id: int, session: NewSession, *, password_hash: str, two_factor: bool | None
) -> int | None:
    """Insert a session of a user and return its id. Lock the user's row until the transaction ends.

    password_hash, two_factor: those of the user when the identity was proved; two_factor may be None if it is
    of no importance. Returns None if the user is gone, if the password hash was replaced, or if the second
    factor was enabled or disabled meanwhile. A change of the password revokes every session that it sees:
    without the lock, a sign-in at the same time could open a session that it does not see.
    """
    # Two statements in one message. The second one sees what was committed while the first one waited.
    cur.execute(
        """
        SELECT FROM users WHERE id = %(user_id)s FOR NO KEY UPDATE;
        INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at, valid_until,
                                   expires_at, ip, user_agent)
        SELECT id, %(selector_hash)s, %(token_hash)s, %(now)s, %(now)s, %(idle_expires_at)s,
               %(expires_at)s, %(ip)s, %(user_agent)s
        FROM users
        WHERE id = %(user_id)s
          AND password = %(password_hash)s
          AND COALESCE(%(two_factor)s = EXISTS (
              SELECT FROM auth_second_factors
              WHERE auth_second_factors.user_id = users.id AND enabled_at IS NOT NULL
          ), TRUE)
        RETURNING id
        """,
        vars(session) | {"user_id": user_id, "password_hash": password_hash, "two_factor": two_factor},
    )
    row = cur.fetchone()
    return row[0] if row else None


def find_all(cur: Cursor, principal: Principal) -> list[Session] | None:
    """Return the user's newest MAX_LISTED live sessions. Returns None if the principal's has ended."""
    principal.execute(
        cur,
        """
        SELECT auth_sessions.id, auth_sessions.created_at, last_used_at, expires_at, ip, user_agent
        FROM principal
        LEFT JOIN auth_sessions ON auth_sessions.user_id = principal.id AND valid_until > %(now)s
        ORDER BY auth_sessions.created_at DESC, auth_sessions.id DESC
        LIMIT %(max_listed)s
        """,
        max_listed=MAX_LISTED,
    )
    rows = cur.fetchall()
    return [Session(*row) for row in rows if row[0] is not None] if rows else None


def revoke(cur: Cursor, session_id: int, *, user_id: int) -> None:
    """Revoke a session of a user, if it is still there."""
    cur.execute("DELETE FROM auth_sessions WHERE id = %s AND user_id = %s", (session_id, user_id))


def revoke_own(cur: Cursor, principal: Principal, session_id: int) -> bool | None:
    """Revoke a session of the principal's user, and return whether there was such a live session.

    Returns None if the principal's own session has ended.
    """
    principal.execute(
        cur,
        """
        , revoked AS (
            DELETE FROM auth_sessions
            USING principal
            WHERE auth_sessions.id = %(revoked_id)s
              AND auth_sessions.user_id = principal.id
              AND auth_sessions.valid_until > %(now)s
            RETURNING auth_sessions.id
        )
        SELECT EXISTS (SELECT FROM revoked) FROM principal
        """,
        revoked_id=session_id,
    )
    row = cur.fetchone()
    return row[0] if row else None


def revoke_others(cur: Cursor, principal: Principal) -> bool:
    """Revoke every session of the user but the principal's. Returns False if the principal's has ended."""
    return _revoke(cur, principal, kept_id=principal.session_id)


def revoke_all(cur: Cursor, principal: Principal) -> bool:
    """Revoke every session of the user. Returns False, and revokes none, if the principal's has ended."""
    return _revoke(cur, principal, kept_id=None)


def _revoke(cur: Cursor, principal: Principal, *, kept_id: int | None) -> bool:
    """Revoke every session of the user but that with the id kept_id.

    The order of locks is that of this module: of two sessions that revoke each other, the second one waits
    and then finds itself revoked. Returns False if the principal's session has ended.
    """
    principal.execute(
        cur,
        """
        , owner AS (
            SELECT users.id
            FROM users
            JOIN principal USING (id)
            FOR KEY SHARE OF users
        ), locked AS (
            SELECT auth_sessions.id
            FROM auth_sessions
            JOIN owner ON owner.id = auth_sessions.user_id
            ORDER BY auth_sessions.id
            FOR UPDATE OF auth_sessions
        ), allowed AS (
            SELECT FROM owner
            WHERE %(session_id)s::BIGINT IS NULL OR %(session_id)s IN (SELECT id FROM locked)
        ), revoked AS (
            DELETE FROM auth_sessions
            USING locked, allowed
            WHERE auth_sessions.id = locked.id AND auth_sessions.id IS DISTINCT FROM %(kept_id)s
        )
        SELECT FROM allowed
        """,
        kept_id=kept_id,
    )
    return cur.fetchone() is not None


def revoke_all_of_user(cur: Cursor, user_id: int) -> None:
    """Revoke every session of a user. The transaction holds a lock on the user's row."""
    cur.execute(
        """
        WITH locked AS (
            SELECT id
            FROM auth_sessions
            WHERE user_id = %s
            ORDER BY id
            FOR UPDATE
        )
        DELETE FROM auth_sessions
        USING locked
        WHERE auth_sessions.id = locked.id
        """,
        (user_id,),
    )


def revoke_surplus(cur: Cursor, user_id: int, *, keep: int, at_most: int, now: datetime) -> None:
    """Revoke up to `at_most` live sessions of a user, but none of the newest `keep`.

    The transaction holds a lock on the user's row.
    """
    cur.execute(
        """
        WITH locked AS (
            SELECT id
            FROM auth_sessions
            WHERE id IN (
                SELECT id
                FROM auth_sessions
                WHERE user_id = %(user_id)s AND valid_until > %(now)s
                ORDER BY id DESC  -- not by time: the clocks of hosts differ
                OFFSET %(keep)s
                LIMIT %(at_most)s
            )
            ORDER BY id
            FOR UPDATE
        )
        DELETE FROM auth_sessions
        USING locked
        WHERE auth_sessions.id = locked.id
        """,
        {"user_id": user_id, "keep": keep, "at_most": at_most, "now": now},
    )


def purge(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Delete up to `at_most` sessions that have ended, and return how many. Skips locked rows."""
    # A subquery in the DELETE could run once for each row, and each time lock, and delete, other rows.
    cur.execute(
        """
        WITH expired AS MATERIALIZED (
            SELECT id
            FROM auth_sessions
            WHERE valid_until <= %s
            ORDER BY valid_until
            LIMIT %s
            FOR UPDATE SKIP LOCKED
        )
        DELETE FROM auth_sessions
        USING expired
        WHERE auth_sessions.id = expired.id
        """,
        (now, at_most),
    )
    return cur.rowcount
