"""A bulkhead: a bound on how many do something at once, how many wait for it, and for how long.

What waits holds a thread. Bounding that is what keeps a slow database or a storm of logins from taking
every thread from the requests that need neither.
"""

import threading
import time
from collections import deque


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
