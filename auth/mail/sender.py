"""The thread of a process that sends what is in the outbox.

Every process of every replica has one. A row is claimed by one of them.
"""

import logging
import random
import threading
import time

from auth.mail import messages, outbox
from auth.mail.delivery import Deliver, Delivery, ServerUnavailable
from auth.mail.messages import Templates
from config import Settings
from db import Database, DatabaseUnavailable
from runtime.log_limit import LogLimit

POLL_SECONDS = 5.0  # about, for the mails of processes that were killed, and those that are due again

log = logging.getLogger("mail")


class Sender:
    """Sends the mails of the outbox in a thread of its own, from `start` to `stop`.

    deliver: hands a message over to the mail server; auth.mail.smtp. Development keeps mails instead.
    """

    def __init__(
        self, database: Database, settings: Settings, deliver: Deliver, templates: Templates
    ) -> None:
        self._database = database
        self._delivery = Delivery(database, settings, deliver, templates)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mail", daemon=True)
        self._log_limit = LogLimit()

    @property
    def deliver(self) -> Deliver:
        return self._delivery.deliver

    @deliver.setter
    def deliver(self, deliver: Deliver) -> None:
        self._delivery.deliver = deliver

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Look into the outbox at once: a transaction has queued a mail."""
        self._wake.set()

    def stop(self, seconds: float) -> None:
        """Claim no further mail, and wait for the delivery that has begun, for so many seconds at most."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:  # it was started
            self._thread.join(max(0.0, seconds))

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopping.is_set():  # race: stop() sets this before its wake-up, which clear() may undo
                return
            try:
                self._send_all_due()
            except ServerUnavailable as exc:
                # Wake-ups do not end this pause, or a storm of requests would be a storm of connections.
                self._stopping.wait(exc.pause_seconds)
            except DatabaseUnavailable as exc:
                if self._log_limit.is_due("database", now=time.monotonic()):
                    log.warning("outbox_unavailable: mails wait: %s", exc)
                self._stopping.wait(_poll_seconds())
            except Exception:
                log.exception("mail_sender_failed")  # the thread must not end
                self._stopping.wait(_poll_seconds())
            else:
                self._wake.wait(_poll_seconds())

    def _send_all_due(self) -> None:
        while not self._stopping.is_set():
            claimed_at = time.monotonic()
            mail = self._database.write(outbox.claim, kinds=messages.KINDS)
            if mail is None:
                return
            self._delivery.send(mail, claimed_at=claimed_at)


def _poll_seconds() -> float:
    # At random, or all workers would look at the same moment (thundering herd).
    return POLL_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311
