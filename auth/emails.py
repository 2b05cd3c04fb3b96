"""The SQL on the table auth_emails: which address a user has verified, and which one waits to be verified."""

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


def forget_pending(cur: Cursor, user_id: int) -> None:
    """Keep the email of a user: what was pending does not replace it any more."""
    cur.execute(
        "UPDATE auth_emails SET pending = NULL WHERE user_id = %s AND pending IS NOT NULL", (user_id,)
    )
