"""Tokens that work once, by purpose, and the SQL on the table auth_one_time_tokens.

A token is random and opaque. The table has its SHA-256 alone. Tickets take their text and its hash from here.
A transaction locks the row of the user before it changes a token, which prevents deadlocks.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from db import Cursor

VERIFY_EMAIL, RESET_PASSWORD = "verify_email", "reset_password"
TOKEN_BYTES = 32


@dataclass(frozen=True)
class Owner:
    """Whom a token was made for. email: the address that the token was sent to."""

    user_id: int
    email: str


def new() -> str:
    """Return a random token of 43 URL-safe characters."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def replace(cur: Cursor, token: str, owner: Owner, *, purpose: str, expires_at: datetime) -> None:
    """Store a token of a user. The user's older token for this purpose is void. expires_at: aware."""
    cur.execute(
        """
        INSERT INTO auth_one_time_tokens (token_hash, purpose, user_id, email, expires_at)
        VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (user_id, purpose) DO UPDATE
        SET token_hash = EXCLUDED.token_hash,
            email = EXCLUDED.email,
            expires_at = EXCLUDED.expires_at,
            used_at = NULL
        """,
        (hash_of(token), purpose, owner.user_id, owner.email, expires_at),
    )


def find(cur: Cursor, token: str, *, purpose: str, now: datetime) -> Owner | None:
    """Return whom a live token was made for. Returns None if the token is unknown, used or expired."""
    cur.execute(
        """
        SELECT user_id, email
        FROM auth_one_time_tokens
        WHERE token_hash = %s AND purpose = %s AND used_at IS NULL AND expires_at > %s
        """,
        (hash_of(token), purpose, now),
    )
    row = cur.fetchone()
    return Owner(*row) if row else None


def consume(cur: Cursor, token: str, owner: Owner, *, purpose: str, now: datetime) -> bool:
    """Use a token up. Returns False if it is no live token of `owner`. Of two requests one gets True."""
    cur.execute(
        """
        UPDATE auth_one_time_tokens
        SET used_at = %(now)s
        WHERE token_hash = %(token_hash)s
          AND purpose = %(purpose)s
          AND user_id = %(user_id)s
          AND email = %(email)s
          AND used_at IS NULL
          AND expires_at > %(now)s
        RETURNING user_id
        """,
        vars(owner) | {"token_hash": hash_of(token), "purpose": purpose, "now": now},
    )
    return cur.fetchone() is not None


def void(cur: Cursor, user_id: int, *, purpose: str | None = None) -> None:
    """Make all tokens of a user void, or the one for a purpose."""
    cur.execute(
        """
        DELETE FROM auth_one_time_tokens
        WHERE user_id = %(user_id)s AND (%(purpose)s::TEXT IS NULL OR purpose = %(purpose)s)
        """,
        {"user_id": user_id, "purpose": purpose},
    )


def purge(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Delete up to `at_most` tokens that have expired, and return how many. Skips locked rows."""
    cur.execute(
        """
        WITH expired AS MATERIALIZED (
            SELECT token_hash
            FROM auth_one_time_tokens
            WHERE expires_at <= %s
            LIMIT %s
            FOR UPDATE SKIP LOCKED
        )
        DELETE FROM auth_one_time_tokens
        USING expired
        WHERE auth_one_time_tokens.token_hash = expired.token_hash
        """,
        (now, at_most),
    )
    return cur.rowcount


def hash_of(token: str) -> bytes:
    """Return the SHA-256 of a token, as it is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
