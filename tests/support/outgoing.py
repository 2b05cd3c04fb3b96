"""The way of mails out of the outbox, with a callable in the place of the mail server."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from flask import Flask

from auth.mail import messages, outbox
from auth.mail.delivery import Delivery, ServerUnavailable
from auth.mail.messages import Templates
from auth.mail.outbox import NewMail, QueuedMail
from auth.mail.sender import Sender
from auth.mail.smtp import MailError
from auth.services import Auth
from tests.support.database import Sql

ADDRESS = "ada@example.com"
NOTICE = {"time": "2026-01-02 03:04 UTC", "ip": "192.0.2.7", "device": "Firefox on Windows"}
TEMPLATES = Templates(None)


def refused(text: str = "the mail server answered RCPT with 550: no such user") -> MailError:
    return MailError(text, is_permanent=True)


def busy(text: str = "the mail server answered RCPT with 450: try later") -> MailError:
    return MailError(text)


def server_down(text: str = "the mail server cannot be reached: Connection refused") -> MailError:
    return MailError(text, speaks_of_server=True)


class Post:
    """Takes messages, as Transport.deliver does.

    failures: what the next deliveries raise, one after the other. always: what all of them raise. before:
    called at the beginning of each.
    """

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.always: Exception | None = None
        self.before: Callable[[], object] = lambda: None
        self.calls = 0
        self.sent: list[tuple[str, EmailMessage]] = []

    def __call__(self, message: EmailMessage, *, recipient: str) -> None:
        self.calls += 1
        self.before()
        if self.failures:
            raise self.failures.pop(0)
        if self.always:
            raise self.always
        self.sent.append((recipient, message))

    def recipients(self) -> list[str]:
        return [recipient for recipient, _ in self.sent]

    def texts(self) -> list[str]:
        return [str(message.get_body(["plain"]).get_content()) for _, message in self.sent]  # type: ignore[union-attr]


@dataclass(frozen=True)
class Office:
    """The outbox of an app, and the post that takes its mails."""

    auth: Auth
    post: Post
    sql: Sql
    delivery: Delivery

    def sender(self) -> Sender:
        return Sender(self.auth.database, self.auth.settings, self.post, TEMPLATES)

    def queue(self, kind: str, recipient: str = ADDRESS, *, user_id: int | None = None) -> None:
        details = {} if "link" in messages.KINDS.get(kind, ()) else NOTICE
        self.auth.database.write(outbox.queue, NewMail(kind, recipient, user_id, details))

    def claim(self) -> QueuedMail:
        mail = self.auth.database.write(outbox.claim)
        assert mail is not None
        return mail

    def send_next(self) -> None:
        """Send the mail that is due, as a worker does. A server that is down is no exception here."""
        claimed_at = time.monotonic()
        try:
            self.delivery.send(self.claim(), claimed_at=claimed_at)
        except ServerUnavailable:
            return

    def rows(self, columns: str = "tries, given_up, last_error") -> list[tuple[Any, ...]]:
        return self.sql(f"SELECT {columns} FROM auth_outbox ORDER BY id")

    def due_in(self) -> float:
        """Return the seconds until the only mail is due."""
        [(seconds,)] = self.rows("EXTRACT(EPOCH FROM due_at - now())::FLOAT")
        return float(seconds)

    def make_due(self) -> None:
        self.sql("UPDATE auth_outbox SET due_at = now()")

    def let_pass(self, interval: str) -> None:
        """Let time pass for every mail; all of them are due."""
        self.sql("UPDATE auth_outbox SET queued_at = queued_at - %s::INTERVAL, due_at = now()", interval)


def office_of(app: Flask, sql: Sql) -> Office:
    auth: Auth = app.extensions["auth"]
    post = Post()
    return Office(auth, post, sql, Delivery(auth.database, auth.settings, post, TEMPLATES))
