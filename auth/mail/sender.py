"""The thread that sends what is in the outbox."""

import threading


class Sender:
    """Sends the mails of the outbox in a thread of its own."""

    def __init__(self) -> None:
        self._wake = threading.Event()

    def wake(self) -> None:
        """Look into the outbox at once: a transaction has queued a mail."""
        self._wake.set()
