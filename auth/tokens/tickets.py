"""Tickets: what a user gets for a right password while the second factor is due.

A ticket is random and opaque. The table auth_tickets has its SHA-256 alone. A ticket is bound to the user and
to the password hash that was proved, so that a change of the password makes it void.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from auth.tokens import one_time
from db import Cursor

EXPIRES_SECONDS = 300


@dataclass(frozen=True)
class Ticket:
    """A new ticket. expires_in: seconds."""

    token: str = field(repr=False)
    expires_in: int = EXPIRES_SECONDS


@dataclass(frozen=True)
class Bearer:
    """Whom a ticket was issued to. proof: SHA-256 of the password hash that the user had."""

    user_id: int
    proof: bytes = field(repr=False)

    def is_bound_to(self, password_hash: str) -> bool:
        """Return whether the ticket is still good for a user who has this password hash."""
        return self.proof == _proof(password_hash)


def issue(cur: Cursor, user_id: int, *, password_hash: str, now: datetime) -> Ticket | None:
    """Store a new ticket of a user. password_hash: of the user when the identity was proved. now: aware.

    Returns None if the user is gone or the hash was replaced.
    """
    ticket = Ticket(one_time.new())
    cur.execute(
        """
        INSERT INTO auth_tickets (token_hash, user_id, proof, expires_at)
        SELECT %(token_hash)s, id, %(proof)s, %(expires_at)s
        FROM users
        WHERE id = %(user_id)s
          AND password = %(password_hash)s
        FOR KEY SHARE  -- race: the foreign key would refuse a user who is deleted meanwhile
        """,
        {
            "token_hash": one_time.hash_of(ticket.token),
            "user_id": user_id,
            "proof": _proof(password_hash),
            "password_hash": password_hash,
            "expires_at": now + timedelta(seconds=EXPIRES_SECONDS),
        },
    )
    return ticket if cur.rowcount == 1 else None


def find(cur: Cursor, token: str, *, now: datetime) -> Bearer | None:
    """Return whom a live ticket was issued to. Returns None if the ticket is unknown, used or expired."""
    cur.execute(
        "SELECT user_id, proof FROM auth_tickets WHERE token_hash = %s AND expires_at > %s",
        (one_time.hash_of(token), now),
    )
    row = cur.fetchone()
    return Bearer(row[0], bytes(row[1])) if row else None


def consume(cur: Cursor, token: str, *, now: datetime) -> bool:
    """Use a ticket up. Returns False if it is not live. Of two requests one gets True."""
    cur.execute(
        "DELETE FROM auth_tickets WHERE token_hash = %s AND expires_at > %s", (one_time.hash_of(token), now)
    )
    return cur.rowcount == 1


def void(cur: Cursor, user_id: int) -> None:
    """Make all tickets of a user void."""
    cur.execute("DELETE FROM auth_tickets WHERE user_id = %s", (user_id,))


def purge(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Delete up to `at_most` tickets that have expired, and return how many. Skips locked rows."""
    cur.execute(
        """
        WITH expired AS MATERIALIZED (
            SELECT token_hash
            FROM auth_tickets
            WHERE expires_at <= %s
            LIMIT %s
            FOR UPDATE SKIP LOCKED
        )
        DELETE FROM auth_tickets
        USING expired
        WHERE auth_tickets.token_hash = expired.token_hash
        """,
        (now, at_most),
    )
    return cur.rowcount


def _proof(password_hash: str) -> bytes:
    return hashlib.sha256(password_hash.encode()).digest()
