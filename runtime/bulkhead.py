"""A bulkhead: a bound on how many do something at once, how many wait for it, and for how long.

What waits holds a thread. Bounding that is what keeps a slow database or a storm of logins from taking
every thread from the requests that need neither.
"""

import fcntl
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

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


class SharedPlaces:
    """Places that several processes share: a byte of one file each, locked by the process that has it.

    One worker may get all the connections. Then it may use every core, and the others must wait.
    The kernel unlocks what a killed worker held. It tells nobody of an unlocking, so who waits looks every
    few milliseconds: one waiter of all processes for a place, and one of each other process for its turn,
    which is the lock of one more byte.
    """

    LOOK_SECONDS = 0.005

    def __init__(self, descriptor: int, count: int) -> None:
        self._descriptor = descriptor
        self._turn = count
        # A process never meets a lock of its own: its threads try only what it has not taken.
        self._free = list(range(count))
        self._lock = threading.Lock()
        self._next = threading.Lock()  # held by the waiter of this process
        self._polite_until = 0.0
        self._warned = False

    def enter(self, *, until: float) -> int | None:
        """Take a place, waiting until the monotonic time `until`; return it for `leave`. Raises TooLate.

        Returns None where locking does not work: then each process keeps its own bound alone.
        """
        if not self._next.acquire(timeout=max(0.0, until - time.monotonic())):
            raise TooLate
        try:
            time.sleep(max(0.0, self._polite_until - time.monotonic()))
            self._wait_for(lambda: self._lock_byte(self._turn), until)
            try:
                return self._wait_for(self._take, until)
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._turn)
                # The other processes look before this one comes again.
                self._polite_until = time.monotonic() + 2 * self.LOOK_SECONDS
        except OSError as exc:
            if not self._warned:
                self._warned = True
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

    def _wait_for(self, try_once: Callable[[], int | None], until: float) -> int:
        """Look until `try_once` returns the byte that it locked. Raises TooLate."""
        while (byte := try_once()) is None:
            if time.monotonic() >= until:
                raise TooLate
            time.sleep(self.LOOK_SECONDS)
        return byte

    def _take(self) -> int | None:
        with self._lock:
            for place in self._free:
                if self._lock_byte(place) is not None:
                    self._free.remove(place)
                    return place
        return None

    def _lock_byte(self, byte: int) -> int | None:
        """Return the byte, None if another process has locked it."""
        with suppress(BlockingIOError, PermissionError):  # POSIX allows either for "locked"
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return byte
        return None
