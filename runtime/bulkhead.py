"""A bulkhead: a bound on how many threads do something at once, how many wait for it, and for how long.

A thread that waits serves no other request. The bound keeps a slow database or a storm of logins from taking
every thread away from the requests that need neither.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from runtime import client
from runtime.fair_queue import FairQueue
from runtime.fair_queue import Full as Full


class TooLate(Full):
    """The wait took too long."""


class Bulkhead:
    """A number of places for the threads of one process, handed out fairly (FairQueue).

    running: how many threads may be inside at once. waiting: how many more may wait for a place.
    """

    def __init__(self, *, running: int, waiting: int) -> None:
        self._free = running
        self._queue = FairQueue(waiting)
        self._lock = threading.Lock()

    def enter(self, *, until: float) -> None:
        """Take a place; wait for it until the time.monotonic() `until`. Every enter needs a leave.

        Raises Full at once if too many threads wait already, or TooLate at `until`.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = self._queue.add(client.current_network())
        if turn.lock.acquire(timeout=max(0.0, until - time.monotonic())):
            return
        with self._lock:
            if self._queue.remove(turn):
                raise TooLate
        # Race: `leave` chose this thread in the moment in which the wait ended, so the place is ours.

    def leave(self) -> None:
        """Hand the place to the next thread, so that no later thread overtakes it."""
        with self._lock:
            if self._queue:
                self._queue.pop().lock.release()
            else:
                self._free += 1

    @contextmanager
    def hold(self, *, until: float) -> Iterator[None]:
        """Hold a place during the block. Raises Full or TooLate, as `enter` does."""
        self.enter(until=until)
        try:
            yield
        finally:
            self.leave()
