"""A bulkhead: a bound on how many do something at once, how many wait for it, and for how long.

What waits holds a thread. Bounding that is what keeps a slow database or a storm of logins from taking
every thread from the requests that need neither.
"""

import fcntl
import logging
import os
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from typing import IO

log = logging.getLogger("bulkhead")


class Full(Exception):
    """As many as may wait are waiting already."""


class TooLate(Full):
    """The wait was too long."""


class Bulkhead:
    """Lets `running` callers in at once and `waiting` more wait, first come, first served."""

    def __init__(self, *, running: int, waiting: int) -> None:
        self._free = running
        self._waiting = waiting
        self._turns: deque[threading.Lock] = deque()
        self._lock = threading.Lock()

    def enter(self, *, until: float) -> None:
        """Take a place, waiting until the monotonic time `until`; every enter needs a leave.

        Raises Full at once or TooLate in the end.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return
            if len(self._turns) >= self._waiting:
                raise Full
            turn = threading.Lock()
            turn.acquire()
            self._turns.append(turn)
        if turn.acquire(timeout=max(0.0, until - time.monotonic())):
            return
        with self._lock:
            if turn in self._turns:
                self._turns.remove(turn)
                raise TooLate
        # Our turn came in the moment in which we gave up: the place is ours.

    def leave(self) -> None:
        """Hand the place to whoever waits longest, so that nobody overtakes."""
        with self._lock:
            if self._turns:
                self._turns.popleft().release()
            else:
                self._free += 1


def file_without_a_name() -> IO[bytes]:
    """Return a file that nobody can remove; in memory, where a system has such files."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("hash-slots"), "wb")
    return tempfile.TemporaryFile()


class SharedPlaces:
    """Places that several processes share: a byte of one file each, locked by the process that has it.

    One worker may get all the connections; it must be able to use every core, and no other one then as
    well. The kernel unlocks what a killed worker held, and tells nobody of an unlocking: so one waiter of
    all processes looks every few milliseconds. It holds the lock of one more byte, for which one waiter of
    each other process queues: who has just left a place does not take it again before them.
    """

    LOOK_SECONDS = 0.005

    def __init__(self, descriptor: int, count: int) -> None:
        self._descriptor = descriptor
        self._gate = count
        # A process never meets a lock of its own: its threads try only what it has not taken.
        self._free = list(range(count))
        self._lock = threading.Lock()
        self._next = threading.Lock()  # held by the waiter of this process

    def enter(self, *, until: float) -> int | None:
        """Take a place, waiting until the monotonic time `until`; return it for `leave`. Raises TooLate.

        Returns None where locking does not work: then each process keeps its own bound alone.
        """
        if not self._next.acquire(timeout=max(0.0, until - time.monotonic())):
            raise TooLate
        patience = 0 if time.monotonic() < until else fcntl.LOCK_NB
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | patience, 1, self._gate)
            try:
                return self._look(until)
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._gate)
        except (BlockingIOError, PermissionError):  # POSIX allows either for "locked"
            raise TooLate from None
        except OSError as exc:
            log.warning("hash_slots_not_shared: %s", exc)
            return None
        finally:
            self._next.release()

    def leave(self, place: int | None) -> None:
        """Give the place back."""
        if place is not None:
            with self._lock:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)
                self._free.append(place)

    def _look(self, until: float) -> int:
        while (place := self._take()) is None:
            if time.monotonic() >= until:
                raise TooLate
            time.sleep(self.LOOK_SECONDS)
        return place

    def _take(self) -> int | None:
        with self._lock:
            for place in self._free:
                with suppress(BlockingIOError, PermissionError):
                    fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                    self._free.remove(place)
                    return place
        return None
