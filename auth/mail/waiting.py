"""What waits in the outbox, and why: the SQL on the table auth_outbox for operators."""

from dataclasses import dataclass

from db import Cursor


@dataclass(frozen=True)
class WaitingMail:
    """A mail as operators see it. due_in_seconds: until the next try; negative if it is overdue."""

    id: int
    kind: str
    user_id: int | None
    recipient: str
    age_seconds: int
    tries: int
    due_in_seconds: int
    last_error: str
    given_up: bool


def find_all(cur: Cursor, *, at_most: int) -> list[WaitingMail]:
    """Return the oldest mails: first those that will be tried again, then those that were given up."""
    cur.execute(
        """
        SELECT id, kind, user_id, recipient,
               EXTRACT(EPOCH FROM statement_timestamp() - queued_at)::INTEGER,
               tries,
               ceil(EXTRACT(EPOCH FROM due_at - statement_timestamp()))::INTEGER,
               last_error, given_up
        FROM auth_outbox
        ORDER BY given_up, id
        LIMIT %s
        """,
        (at_most,),
    )
    return [WaitingMail(*row) for row in cur]


def count(cur: Cursor) -> int:
    """Return the number of all mails in the outbox."""
    cur.execute("SELECT count(*) FROM auth_outbox")
    row = cur.fetchone()
    return row[0] if row else 0


def retry(cur: Cursor) -> int:
    """Make every mail due now, and give those that were given up another day. Return how many are due.

    Race: a mail that a worker is sending at this moment keeps its claim. Without it, a second worker would
    send the mail as well.
    """
    cur.execute(
        """
        UPDATE auth_outbox
        SET due_at = LEAST(due_at, statement_timestamp()),
            queued_at = CASE WHEN given_up THEN statement_timestamp() ELSE queued_at END,
            given_up = FALSE
        WHERE given_up OR tries = 0 OR last_error <> '' OR due_at <= statement_timestamp()
        """
    )
    return cur.rowcount
