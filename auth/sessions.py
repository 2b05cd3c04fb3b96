"""The table auth_sessions: its rows as frozen dataclasses, and every statement on it.

The order of locks is the same for every statement of the service, so that no two wait for each other:
the row of the user first, then rows of sessions by their ids. A statement that locks several sessions
locks the user FOR KEY SHARE at least. The deletion of a user takes the sessions in any order: it must find
the user locked. A statement that locks one row alone holds nothing while it waits. A purge never waits.
"""

from dataclasses import dataclass, field
from datetime import datetime

from psycopg2.extensions import cursor

from auth.principal import PRINCIPAL, Principal

MAX_LISTED = 200  # who logs in by a script has more than anybody reads

# The values of a NewSession, but for user_id, which the INSERT selects.
INSERT = """
    INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at, valid_until,
                               expires_at, ip, user_agent)
    SELECT id, %(handle_hash)s, %(token_hash)s, %(now)s, %(now)s, %(valid_until)s, %(expires_at)s,
           %(ip)s, %(user_agent)s
"""


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
    """A session to be opened. Times are aware; valid_until is never after expires_at."""

    handle_hash: bytes = field(repr=False)
    token_hash: bytes = field(repr=False)
    now: datetime
    valid_until: datetime
    expires_at: datetime
    ip: str
    user_agent: str


@dataclass(frozen=True)
class SessionGrant:
    """A session that tokens may be issued for, whose it is, and when it ends unless refreshed (aware)."""

    id: int
    user_id: int
    email: str
    valid_until: datetime


@dataclass(frozen=True)
class RefreshState:
    """The session that a refresh token names, and what tells that token's place among its tokens.

    seconds_since_rotation: by the database's clock alone. A statement may wait, and hosts' clocks differ.
    """

    session: SessionGrant
    seconds_since_rotation: float
    token_hash: bytes = field(repr=False)
    previous_hash: bytes | None = field(repr=False)
    salt: bytes | None = field(repr=False)


_HOLDER = """
    auth_sessions.id, users.id, users.email, auth_sessions.valid_until,
    EXTRACT(EPOCH FROM clock_timestamp() - COALESCE(rotated_at, auth_sessions.created_at))::FLOAT8,
    auth_sessions.token_hash, auth_sessions.previous_hash, auth_sessions.salt
"""


def open_for(cur: cursor, user_id: int, *, password_hash: str, new: NewSession) -> int | None:
    """Open a session of a user who proved a password, and return its id.

    None when `password_hash` is not the user's any more. The lock makes a change of the password
    wait for this session, or this for that: such a change ends every session that it finds.
    """
    cur.execute(
        f"{INSERT} FROM users WHERE id = %(user_id)s AND password = %(password)s FOR SHARE RETURNING id",
        vars(new) | {"user_id": user_id, "password": password_hash},
    )
    row = cur.fetchone()
    return row[0] if row else None


def rotate(
    cur: cursor,
    *,
    handle_hash: bytes,
    old_hash: bytes,
    new_hash: bytes,
    salt: bytes,
    now: datetime,
    valid_until: datetime,
) -> RefreshState | None:
    """Replace the refresh token; None when `old_hash` is not that of a live session's current one."""
    cur.execute(
        f"""
        UPDATE auth_sessions
        SET token_hash = %(new_hash)s,
            previous_hash = %(old_hash)s,
            salt = %(salt)s,
            rotated_at = clock_timestamp(),
            last_used_at = %(now)s,
            valid_until = LEAST(%(valid_until)s, auth_sessions.expires_at)
        FROM users
        WHERE auth_sessions.handle_hash = %(handle_hash)s
          AND auth_sessions.token_hash = %(old_hash)s
          AND auth_sessions.valid_until > %(now)s
          AND users.id = auth_sessions.user_id
        RETURNING {_HOLDER}
        """,
        {
            "handle_hash": handle_hash,
            "old_hash": old_hash,
            "new_hash": new_hash,
            "salt": salt,
            "now": now,
            "valid_until": valid_until,
        },
    )
    return _holder(cur)


def find_refresh_state(cur: cursor, handle_hash: bytes, *, now: datetime) -> RefreshState | None:
    """Return the live session that a refresh token's handle names."""
    cur.execute(
        f"""
        SELECT {_HOLDER}
        FROM auth_sessions
        JOIN users ON users.id = auth_sessions.user_id
        WHERE auth_sessions.handle_hash = %s AND auth_sessions.valid_until > %s
        """,
        (handle_hash, now),
    )
    return _holder(cur)


def list_for(cur: cursor, caller: Principal) -> list[Session] | None:
    """Return the caller's live sessions, the newest MAX_LISTED of them; None when the caller's own is over."""
    cur.execute(
        f"""
        WITH {PRINCIPAL}
        SELECT auth_sessions.id, created_at, last_used_at, expires_at, ip, user_agent
        FROM caller
        LEFT JOIN auth_sessions ON auth_sessions.user_id = caller.id AND valid_until > %(now)s
        ORDER BY created_at DESC, auth_sessions.id DESC
        LIMIT %(listed)s
        """,
        caller.parameters() | {"listed": MAX_LISTED},
    )
    rows = cur.fetchall()
    return [Session(*row) for row in rows if row[0] is not None] if rows else None


def revoke(cur: cursor, session_id: int, *, user_id: int) -> None:
    """End a session of a user, if it is not over."""
    cur.execute("DELETE FROM auth_sessions WHERE id = %s AND user_id = %s", (session_id, user_id))


def revoke_by_selector(cur: cursor, handle_hash: bytes) -> None:
    """End the session of a refresh token, if it is not over."""
    cur.execute("DELETE FROM auth_sessions WHERE handle_hash = %s", (handle_hash,))


def revoke_of_principal(cur: cursor, caller: Principal, session_id: int) -> bool | None:
    """End one of the caller's sessions: whether there was such a one; None when the caller's own is over."""
    cur.execute(
        f"""
        WITH {PRINCIPAL}, ended AS (
            DELETE FROM auth_sessions
            USING caller
            WHERE auth_sessions.id = %(ended_id)s
              AND auth_sessions.user_id = caller.id
              AND auth_sessions.valid_until > %(now)s
            RETURNING auth_sessions.id
        )
        SELECT EXISTS (SELECT FROM ended) FROM caller
        """,
        caller.parameters() | {"ended_id": session_id},
    )
    row = cur.fetchone()
    return row[0] if row else None


def revoke_others(cur: cursor, caller: Principal) -> bool:
    """End all of the caller's sessions but the current one; False when that is over itself.

    The locks are taken in the order of this module: of two sessions that end each other, the second waits
    and finds itself ended.
    """
    cur.execute(
        f"""
        WITH {PRINCIPAL}, owner AS (
            SELECT users.id
            FROM users
            JOIN caller USING (id)
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
        ), ended AS (
            DELETE FROM auth_sessions
            USING locked, allowed
            WHERE auth_sessions.id = locked.id AND auth_sessions.id IS DISTINCT FROM %(session_id)s
        )
        SELECT FROM allowed
        """,
        caller.parameters(),
    )
    return cur.fetchone() is not None


def renew(cur: cursor, session_id: int, new: NewSession) -> datetime | None:
    """Give a session a refresh token that has nothing to do with the last, and return its new end."""
    cur.execute(
        """
        UPDATE auth_sessions
        SET handle_hash = %(handle_hash)s,
            token_hash = %(token_hash)s,
            previous_hash = NULL,
            salt = NULL,
            rotated_at = NULL,
            last_used_at = %(now)s,
            valid_until = LEAST(%(valid_until)s, expires_at)
        WHERE id = %(id)s
        RETURNING valid_until
        """,
        vars(new) | {"id": session_id},
    )
    row = cur.fetchone()
    return row[0] if row else None


def purge(cur: cursor, *, now: datetime, at_most: int) -> int:
    """Remove some sessions that are over, but none that somebody else has locked; return how many."""
    cur.execute(
        """
        DELETE FROM auth_sessions
        WHERE id IN (
            SELECT id
            FROM auth_sessions
            WHERE valid_until <= %s
            ORDER BY valid_until
            LIMIT %s
            FOR UPDATE SKIP LOCKED
        )
        """,
        (now, at_most),
    )
    return cur.rowcount


def _holder(cur: cursor) -> RefreshState | None:
    row = cur.fetchone()
    if row is None:
        return None
    token_hash, previous_hash, salt = (bytes(value) if value else None for value in row[5:])  # memoryviews
    return RefreshState(SessionGrant(*row[:4]), row[4], token_hash or b"", previous_hash, salt)
