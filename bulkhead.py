"""A bulkhead: a bound on how many do something at once, how many wait for it, and for how long.

What waits holds a thread. Bounding that is what keeps a slow database or a storm of logins from taking
every thread from the requests that need neither.
"""

import fcntl
import threading
import time
from collections import deque
from contextlib import suppress


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

    One worker may get all the connections; it must be able to use every core, and no other one then as
    well. The kernel unlocks what a killed worker held. It tells nobody of an unlocking, so who waits
    looks every few milliseconds; a bulkhead before this keeps those few.
    """

    LOOK_SECONDS = 0.005

    def __init__(self, descriptor: int, count: int) -> None:
        self._descriptor = descriptor
        # A process never meets a lock of its own: its threads try only what it has not taken.
        self._free = list(range(count))
        self._lock = threading.Lock()

    def enter(self, *, until: float) -> int:
        """Take a place, waiting until the monotonic time `until`; return it for `leave`. Raises TooLate."""
        while (place := self._take()) is None:
            if time.monotonic() >= until:
                raise TooLate
            time.sleep(self.LOOK_SECONDS)
        return place

    def leave(self, place: int) -> None:
        """Give the place back."""
        with self._lock:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)
            self._free.append(place)

    def _take(self) -> int | None:
        with self._lock:
            for place in self._free:
                with suppress(BlockingIOError, PermissionError):  # POSIX allows either for "locked"
                    fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                    self._free.remove(place)
                    return place
        return None
