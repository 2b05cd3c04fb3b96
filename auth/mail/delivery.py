"""One claimed mail, from its row to the note of what became of it.

No connection of the pool is held while the mail goes to the mail server.
"""

import logging
import random
import re
import time
from collections.abc import Callable
from email.message import EmailMessage

from auth.mail import links, outbox, retries, values
from auth.mail.links import Letter
from auth.mail.messages import BadRecipient, BrokenTemplate, Templates
from auth.mail.outbox import CLAIM_SECONDS, QueuedMail
from auth.mail.smtp import MailError
from auth.throttling import counters, keys
from auth.throttling.counters import Charge
from auth.users import User
from config import Settings
from db import Cursor, Database, DatabaseUnavailable, StatementRefused, transaction
from runtime import clock
from runtime.log_limit import LogLimit
from runtime.mail_settings import MailSettings

Deliver = Callable[..., None]  # (message, *, recipient); raises MailError

# The delivery begins within this time after the claim. It then ends, and is noted, before the claim ends.
BEGIN_SECONDS = CLAIM_SECONDS / 2
NOTE_PAUSE_SECONDS = 1.0
MAX_ERROR_CHARACTERS = 300

# A server may quote an address, a link or a token in its reply.
_HIDDEN = re.compile(r"\S*(?:@|://|token=)\S*|[\w=-]{32,}")

log = logging.getLogger("mail")


class ServerUnavailable(Exception):
    """The mail server fails, and would fail for every other mail, too. The next try is due after a pause."""

    def __init__(self, pause_seconds: float) -> None:
        super().__init__("the mail server is unavailable")
        self.pause_seconds = pause_seconds


class Delivery:
    """Sends claimed mails. deliver: hands a message over to the mail server."""

    def __init__(
        self, database: Database, settings: Settings, deliver: Deliver, templates: Templates
    ) -> None:
        self._database = database
        self._settings = settings
        self.deliver = deliver
        self._templates = templates
        self._outages = 0  # in a row
        self._log_limit = LogLimit()

    def send(self, mail: QueuedMail, *, claimed_at: float) -> None:
        """Send a mail, and note what became of it.

        claimed_at: of time.monotonic(), before the claim. Raises ServerUnavailable or DatabaseUnavailable.
        """
        try:
            letter = self._letter(mail)
            if letter is None:
                return
            message = self._compose(letter)
            if time.monotonic() - claimed_at > BEGIN_SECONDS:  # the process was frozen
                log.warning("mail_claim_over %s: left to the next try", _label(mail))
                return
            self.deliver(message, recipient=letter.recipient)
        except StatementRefused as exc:  # of this mail alone: a right on a table may be missing
            self._try_later(mail, _one_line(exc))
        except DatabaseUnavailable:
            self._end_claim(mail)
            raise
        except Exception as exc:  # noqa: BLE001 - no mail may stop the others
            self._note_failure(mail, exc)
        else:
            self._outages = 0
            self._note_sent(mail, letter, claimed_at)

    def _letter(self, mail: QueuedMail) -> Letter | None:
        """Return what to write. Returns None, and removes the mail, if it is not to be sent."""
        user = self._database.read(links.find_user, mail)
        if user and not self._has_budget(mail, user):
            self._remove(mail, "mailbox_limit")
            return None
        letter = None
        if user:
            settings = self._mail_settings()
            letter = self._database.write(links.letter, mail, settings=settings, now=clock.now())
        if letter is None:
            self._remove(mail, "mail_dropped")
        return letter

    def _has_budget(self, mail: QueuedMail, user: User) -> bool:
        """Charge the mailbox once for a mail that a stranger may have caused.

        Attack (mail bombing): whoever registers the address of somebody else causes notices as well. A notice
        to a verified address is free, or an attacker could use the budget up to suppress the notice.
        """
        if mail.is_charged or _is_free(mail, user) or not self._settings.rate_limits:
            return True
        key = keys.mailbox(mail.recipient, key=self._settings.secret_key)
        charge = Charge(key, self._mail_settings().limit_mailbox, "rate_limited")
        return self._database.write(_charge, mail, charge)

    def _remove(self, mail: QueuedMail, event: str) -> None:
        if self._database.write(outbox.remove, mail):
            log.info("%s %s", event, _label(mail))

    def _compose(self, letter: Letter) -> EmailMessage:
        mail = self._mail_settings()
        return self._templates.compose(
            letter.kind,
            sender=mail.mail_from,
            recipient=letter.recipient,
            values=values.of_letter(letter, frontend_url=mail.frontend_url),
            now=clock.now(),
        )

    def _mail_settings(self) -> MailSettings:
        assert self._settings.mail is not None  # a sender exists only while mail is on
        return self._settings.mail

    def _note_sent(self, mail: QueuedMail, letter: Letter, claimed_at: float) -> None:
        """Delete the row of a mail that is sent. Without a database try until the claim ends."""
        log.info("mail_sent id=%s kind=%s user_id=%s", mail.id, mail.kind, letter.user.id)
        while True:
            try:
                self._database.write(outbox.remove, mail)
                return
            except DatabaseUnavailable as exc:
                if time.monotonic() - claimed_at > CLAIM_SECONDS:
                    log.error("mail_not_noted %s: it is sent, and will be sent again: %s", _label(mail), exc)
                    return
            time.sleep(NOTE_PAUSE_SECONDS)

    def _note_failure(self, mail: QueuedMail, exc: Exception) -> None:
        cause = _one_line(exc)
        match exc:
            case MailError(speaks_of_server=True):
                self._note_outage(mail, cause)
            case MailError(is_permanent=True) | BadRecipient():
                self._give_up(mail, cause)
            case MailError():
                self._try_later(mail, cause)
            case BrokenTemplate():
                if self._log_limit.is_due(mail.kind, now=time.monotonic()):
                    log.error("mail_not_composed %s: mend the template: %s", _label(mail), cause)
                self._try_later(mail, cause)
            case _:
                log.error("mail_failed %s", _label(mail), exc_info=exc)
                self._try_later(mail, f"unexpected {type(exc).__name__}, see mail_failed in the log")

    def _note_outage(self, mail: QueuedMail, cause: str) -> None:
        """Note a failure that every other mail would meet. Raises ServerUnavailable."""
        self._outages += 1
        pause = retries.outage_seconds(self._outages, jitter=_jitter())
        if self._log_limit.is_due("server", now=time.monotonic()):
            log.warning("mail_server_unavailable: mails wait, the next try is in %.0f s: %s", pause, cause)
        self._try_later(mail, cause, seconds=pause)
        raise ServerUnavailable(pause)

    def _try_later(self, mail: QueuedMail, cause: str, *, seconds: float | None = None) -> None:
        """Postpone a mail, or give it up if it is too old. seconds: None for a pause that grows."""
        if retries.is_too_old(mail.age_seconds):
            self._give_up(mail, cause)
            return
        if seconds is None:
            seconds = retries.pause_seconds(mail.age_seconds, jitter=_jitter())
            log.info("mail_postponed %s: in %.0f s: %s", _label(mail), seconds, cause)
        self._database.write(outbox.postpone, mail, seconds=seconds, error=cause)

    def _give_up(self, mail: QueuedMail, cause: str) -> None:
        if self._database.write(outbox.give_up, mail, error=cause):
            log.warning(
                "mail_given_up %s tries=%s: %s; remove the cause and run `flask --app app mail retry`, or"
                " leave it: its row is deleted %d days after it was queued",
                *(_label(mail), mail.tries, cause, outbox.KEPT.days),
            )

    def _end_claim(self, mail: QueuedMail) -> None:
        """End the claim early. Without a database it ends by itself."""
        seconds = retries.pause_seconds(0, jitter=_jitter())
        try:
            self._database.write(
                outbox.postpone, mail, seconds=seconds, error="the database was not available"
            )
        except DatabaseUnavailable:
            return


def _is_free(mail: QueuedMail, user: User) -> bool:
    """Return whether a mail is a notice to an address that its user has verified."""
    is_verified = user.email_verified and mail.recipient == user.email
    return mail.kind not in links.PAGES and (is_verified or bool(mail.details.get(outbox.WAS_VERIFIED)))


def _charge(cur: Cursor, mail: QueuedMail, charge: Charge) -> bool:
    """Charge a mailbox and note it at the mail. Returns False if the budget is used up."""
    with transaction(cur):
        if not outbox.is_claimed(cur, mail):  # a worker that was frozen charges nothing
            return True
        is_charged = bool(counters.charge(cur, [charge]))
        if is_charged:
            outbox.note_charge(cur, mail)
        return is_charged


def _label(mail: QueuedMail) -> str:
    return f"id={mail.id} kind={mail.kind} user_id={mail.user_id}"


def _jitter() -> float:
    return random.uniform(0.8, 1.2)  # noqa: S311


def _one_line(exc: Exception) -> str:
    """Return the text of an error as one line of ASCII without addresses, links and tokens."""
    line = " ".join(_HIDDEN.sub("<hidden>", str(exc)).split())
    return line.encode("ascii", "replace").decode()[:MAX_ERROR_CHARACTERS]
