"""The SQL on the refresh tokens of auth_sessions: the state of a token, and its rotation.

The order of locks and the names of the columns: see auth.sessions. Each statement here locks a single row.
"""

from dataclasses import dataclass, field
from datetime import datetime

from auth.sessions import SessionGrant
from db import Cursor


@dataclass(frozen=True)
class RefreshState:
    """The session that a refresh token names, and the hashes of its current and its previous token.

    seconds_since_rotation: by the database's clock alone, because a statement may wait and the clocks of
    hosts differ. salt: what the current token was derived with, or None before the first refresh.
    """

    grant: SessionGrant
    seconds_since_rotation: float
    token_hash: bytes = field(repr=False)
    previous_hash: bytes | None = field(repr=False)
    salt: bytes | None = field(repr=False)


_REFRESH_STATE = """
    auth_sessions.id, users.id, users.email, auth_sessions.valid_until,
    EXTRACT(EPOCH FROM clock_timestamp() - COALESCE(rotated_at, auth_sessions.created_at))::FLOAT8,
    auth_sessions.token_hash, auth_sessions.previous_hash, auth_sessions.salt
"""


def rotate(
    cur: Cursor,
    *,
    selector_hash: bytes,
    old_hash: bytes,
    new_hash: bytes,
    salt: bytes,
    now: datetime,
    idle_expires_at: datetime,
) -> RefreshState | None:
    """Replace the refresh token of a live session (compare and swap).

    Returns None if the session has ended, or if `old_hash` is not the hash of its current token.
    """
    cur.execute(
        f"""
        UPDATE auth_sessions
        SET token_hash = %(new_hash)s,
            previous_hash = %(old_hash)s,
            salt = %(salt)s,
            rotated_at = clock_timestamp(),
            last_used_at = %(now)s,
            valid_until = LEAST(%(idle_expires_at)s, auth_sessions.expires_at)
        FROM users
        WHERE auth_sessions.handle_hash = %(selector_hash)s
          AND auth_sessions.token_hash = %(old_hash)s
          AND auth_sessions.valid_until > %(now)s
          AND users.id = auth_sessions.user_id
        RETURNING {_REFRESH_STATE}
        """,
        {
            "selector_hash": selector_hash,
            "old_hash": old_hash,
            "new_hash": new_hash,
            "salt": salt,
            "now": now,
            "idle_expires_at": idle_expires_at,
        },
    )
    return _refresh_state(cur)


def find(cur: Cursor, selector_hash: bytes, *, now: datetime) -> RefreshState | None:
    """Return the live session that a selector names. Returns None if the session has ended."""
    cur.execute(
        f"""
        SELECT {_REFRESH_STATE}
        FROM auth_sessions
        JOIN users ON users.id = auth_sessions.user_id
        WHERE auth_sessions.handle_hash = %s AND auth_sessions.valid_until > %s
        """,
        (selector_hash, now),
    )
    return _refresh_state(cur)


def revoke_by_selector(cur: Cursor, selector_hash: bytes) -> None:
    """Revoke the session of a refresh token, if it is still there."""
    cur.execute("DELETE FROM auth_sessions WHERE handle_hash = %s", (selector_hash,))


def _refresh_state(cur: Cursor) -> RefreshState | None:
    row = cur.fetchone()
    if row is None:
        return None
    token_hash, previous_hash, salt = (bytes(value) if value else None for value in row[5:])  # memoryviews
    return RefreshState(SessionGrant(*row[:4]), row[4], token_hash or b"", previous_hash, salt)
