"""The SQL on the table auth_outbox, whose rows are the mails that wait."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from db import Cursor

CLAIM_SECONDS = 300  # much longer than the delivery of one mail may take


@dataclass(frozen=True)
class NewMail:
    """A mail to queue. kind: one of auth.mail.messages.

    user_id: None stands for the user who has the address of the recipient when the mail is sent, if there is
    one. details: what the message tells, beside the user's names and the link.
    """

    kind: str
    recipient: str
    user_id: int | None = None
    details: Mapping[str, str] = field(default_factory=dict)


def queue(cur: Cursor, mail: NewMail) -> None:
    """Queue a mail, in the transaction that causes it."""
    cur.execute(
        "INSERT INTO auth_outbox (kind, recipient, user_id, details) VALUES (%s, %s, %s, %s)",
        (mail.kind, mail.recipient, mail.user_id, json.dumps(dict(mail.details))),
    )


def queue_notice(cur: Cursor, kind: str, *, user_id: int, details: Mapping[str, str]) -> None:
    """Queue a mail to a user's email of this moment."""
    cur.execute(
        """
        INSERT INTO auth_outbox (kind, recipient, user_id, details)
        SELECT %s, email, id, %s
        FROM users
        WHERE id = %s
        """,
        (kind, json.dumps(dict(details)), user_id),
    )


@dataclass(frozen=True)
class QueuedMail:
    """A mail that a worker has claimed. tries: this one included. Age in seconds since it was queued."""

    id: int
    kind: str
    user_id: int | None
    recipient: str
    details: dict[str, str]
    tries: int
    age_seconds: int


def claim(cur: Cursor) -> QueuedMail | None:
    """Claim the mail that has waited the longest. Returns None if no mail is due.

    The claim ends after CLAIM_SECONDS: the mail of a worker that was killed is due again. The clock of the
    database alone counts. A mail with a claim has no error: `retry` knows it by that.
    """
    cur.execute(
        """
        WITH due AS MATERIALIZED (
            SELECT id
            FROM auth_outbox
            WHERE due_at <= statement_timestamp() AND NOT given_up
            ORDER BY due_at
            LIMIT 1
            FOR UPDATE SKIP LOCKED
        )
        UPDATE auth_outbox
        SET tries = tries + 1,
            last_error = '',
            due_at = statement_timestamp() + %s
        FROM due
        WHERE auth_outbox.id = due.id
        RETURNING auth_outbox.id, kind, user_id, recipient, details, tries,
                  EXTRACT(EPOCH FROM statement_timestamp() - queued_at)::INTEGER
        """,
        (timedelta(seconds=CLAIM_SECONDS),),
    )
    row = cur.fetchone()
    return QueuedMail(*row) if row else None


def remove(cur: Cursor, mail: QueuedMail) -> None:
    """Delete a mail that a server has accepted, or that has no reason any more."""
    cur.execute("DELETE FROM auth_outbox WHERE id = %s AND tries = %s", (mail.id, mail.tries))


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


def waiting(cur: Cursor, *, at_most: int) -> list[WaitingMail]:
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


def length(cur: Cursor) -> int:
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
