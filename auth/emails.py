"""The SQL on the table auth_emails: which address a user has verified, and which one waits to be verified."""

from auth.principal import Principal
from db import Cursor


def set_verified(cur: Cursor, user_id: int, email: str) -> None:
    """Note that a user has proved to receive mail at an address. No other address is pending any more."""
    cur.execute(
        """
        INSERT INTO auth_emails (user_id, verified)
        VALUES (%s, %s)
        ON CONFLICT (user_id) DO UPDATE
        SET verified = EXCLUDED.verified, pending = NULL
        """,
        (user_id, email),
    )


def set_pending(
    cur: Cursor, principal: Principal, email: str | None, *, password_hash: str | None
) -> int | None:
    """Note which address replaces the email of the principal's user once it is verified, and return their id.

    email: None keeps the email, whatever was pending. password_hash: the hash that was verified, or None.
    Returns None if the user is gone, the session has ended, or that hash was replaced meanwhile. The user's
    row is locked until the transaction ends, so that a link cannot be made for what was pending before.
    """
    principal.execute(
        cur,
        """
        , owner AS (
            SELECT users.id
            FROM users
            JOIN principal USING (id)
            WHERE %(password_hash)s::TEXT IS NULL OR password = %(password_hash)s
            FOR NO KEY UPDATE OF users
        )
        INSERT INTO auth_emails (user_id, pending)
        SELECT id, %(email)s
        FROM owner
        ON CONFLICT (user_id) DO UPDATE
        SET pending = EXCLUDED.pending
        RETURNING user_id
        """,
        email=email,
        password_hash=password_hash,
    )
    row = cur.fetchone()
    return row[0] if row else None


def forget_pending(cur: Cursor, user_id: int) -> None:
    """Keep the email of a user, whatever was pending."""
    cur.execute(
        "UPDATE auth_emails SET pending = NULL WHERE user_id = %s AND pending IS NOT NULL", (user_id,)
    )
