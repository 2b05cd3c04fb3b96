"""The SQL on the table auth_outbox, whose rows are the mails that wait."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from auth.principal import Principal
from auth.tokens.one_time import VERIFY_EMAIL
from db import Cursor

CLAIM_SECONDS = 300  # much longer than the delivery of one mail may take
KEPT = timedelta(days=7)  # a mail that was given up, for the operator; also one that nobody sends
# The detail of a notice that is not empty if the user had verified the address when the notice was queued.
WAS_VERIFIED = "was_verified"


@dataclass(frozen=True)
class NewMail:
    """A mail to queue. kind: one of auth.mail.messages.

    user_id: None stands for the user who has the address of the recipient when the mail is sent, if there is
    one. details: what the message tells, beside the user's names and the link; and WAS_VERIFIED.
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
        SELECT %(kind)s, email, id,
               CASE WHEN EXISTS (
                   SELECT FROM auth_emails WHERE auth_emails.user_id = users.id AND verified = email
               ) THEN %(details_if_verified)s ELSE %(details)s END::JSON
        FROM users
        WHERE id = %(user_id)s
        """,
        {
            "kind": kind,
            "user_id": user_id,
            "details": json.dumps(dict(details)),
            "details_if_verified": json.dumps({**details, WAS_VERIFIED: "yes"}),
        },
    )


def queue_verification(cur: Cursor, principal: Principal) -> bool | None:
    """Queue the mail that verifies the pending address of the principal's user, or else the email.

    Returns False if the email is verified and no address is pending. Returns None if the user is gone or the
    session has ended.
    """
    principal.execute(
        cur,
        """
        , owner AS (
            SELECT users.id, email
            FROM users
            JOIN principal USING (id)
            FOR KEY SHARE OF users  -- race: the foreign key would refuse a user who is deleted meanwhile
        ), queued AS (
            INSERT INTO auth_outbox (kind, recipient, user_id, details)
            SELECT %(kind)s, COALESCE(pending, email), owner.id, '{}'
            FROM owner
            LEFT JOIN auth_emails ON auth_emails.user_id = owner.id
            WHERE pending IS NOT NULL OR verified IS DISTINCT FROM email
            RETURNING id
        )
        SELECT EXISTS (SELECT FROM queued) FROM owner
        """,
        kind=VERIFY_EMAIL,
    )
    row = cur.fetchone()
    return row[0] if row else None


@dataclass(frozen=True)
class QueuedMail:
    """A mail that a worker has claimed. tries: this one included. is_charged: to the budget of the mailbox.

    age_seconds: since it was queued.
    """

    id: int
    kind: str
    user_id: int | None
    recipient: str
    details: dict[str, str]
    tries: int
    age_seconds: int
    is_charged: bool = False


def claim(cur: Cursor, *, kinds: Collection[str] | None = None) -> QueuedMail | None:
    """Claim the mail that has been due the longest. Returns None if no mail is due.

    kinds: other mails stay as they are; a newer version, which runs beside this one during an update, may
    have queued them. None stands for every kind. The claim ends after CLAIM_SECONDS: the mail of a worker
    that was killed is due again. A mail with a claim has no error: `retry` knows it by that. The clock of
    the database alone counts.
    """
    cur.execute(
        """
        WITH due AS MATERIALIZED (
            SELECT id
            FROM auth_outbox
            WHERE due_at <= statement_timestamp()
              AND NOT given_up
              AND (%(kinds)s::TEXT[] IS NULL OR kind = ANY (%(kinds)s::TEXT[]))
            ORDER BY due_at
            LIMIT 1
            FOR UPDATE SKIP LOCKED
        )
        UPDATE auth_outbox
        SET tries = tries + 1,
            last_error = '',
            due_at = statement_timestamp() + %(claim)s
        FROM due
        WHERE auth_outbox.id = due.id
        RETURNING auth_outbox.id, kind, user_id, recipient, details, tries,
                  EXTRACT(EPOCH FROM statement_timestamp() - queued_at)::INTEGER, is_charged
        """,
        {"claim": timedelta(seconds=CLAIM_SECONDS), "kinds": None if kinds is None else list(kinds)},
    )
    row = cur.fetchone()
    return QueuedMail(*row) if row else None


# A worker that was frozen may come back after its claim has ended. Each function below changes nothing then:
# whoever has claimed the mail since has counted one more try.


def is_claimed(cur: Cursor, mail: QueuedMail) -> bool:
    """Return whether the claim is still the last one on the mail."""
    cur.execute("SELECT FROM auth_outbox WHERE id = %s AND tries = %s", (mail.id, mail.tries))
    return cur.fetchone() is not None


def note_charge(cur: Cursor, mail: QueuedMail) -> None:
    """Note that a mail is charged to the budget of the mailbox: another try is free."""
    cur.execute(
        "UPDATE auth_outbox SET is_charged = TRUE WHERE id = %s AND tries = %s", (mail.id, mail.tries)
    )


def remove(cur: Cursor, mail: QueuedMail) -> bool:
    """Delete a mail that a server has accepted, or that has no reason any more. Returns whether it did."""
    cur.execute("DELETE FROM auth_outbox WHERE id = %s AND tries = %s", (mail.id, mail.tries))
    return cur.rowcount == 1


def postpone(cur: Cursor, mail: QueuedMail, *, seconds: float, error: str) -> None:
    """End the claim: the mail is due again in so many seconds. error: why, for the operator."""
    cur.execute(
        """
        UPDATE auth_outbox
        SET due_at = statement_timestamp() + %s,
            last_error = %s
        WHERE id = %s AND tries = %s
        """,
        (timedelta(seconds=seconds), error, mail.id, mail.tries),
    )


def give_up(cur: Cursor, mail: QueuedMail, *, error: str) -> bool:
    """Keep a mail for the operator alone. Returns whether it did. error: why."""
    cur.execute(
        """
        UPDATE auth_outbox
        SET given_up = TRUE,
            last_error = %s
        WHERE id = %s AND tries = %s
        """,
        (error, mail.id, mail.tries),
    )
    return cur.rowcount == 1


def purge(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Delete up to `at_most` mails that were queued longer than KEPT ago, and return how many.

    Those were given up, or nobody sends them: mail was switched off, or no version knows their kind. The
    earlier of the clocks counts. Skips locked rows. now: aware.
    """
    cur.execute(
        """
        WITH old AS MATERIALIZED (
            SELECT id
            FROM auth_outbox
            WHERE queued_at <= LEAST(%s, statement_timestamp()) - %s
            LIMIT %s
            FOR UPDATE SKIP LOCKED
        )
        DELETE FROM auth_outbox
        USING old
        WHERE auth_outbox.id = old.id
        """,
        (now, KEPT, at_most),
    )
    return cur.rowcount
