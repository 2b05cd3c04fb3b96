"""A bulkhead: a bound on how many threads do something at once, how many wait for it, and for how long.

A thread that waits serves no other request. The bound keeps a slow database or a storm of logins from taking
every thread away from the requests that need neither.
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
    """The greatest allowed number of threads waits already."""


class TooLate(Full):
    """The wait took too long."""


class Bulkhead:
    """A number of places for the threads of one process, handed out in the order of arrival.

    running: how many threads may be inside at once. waiting: how many more may wait for a place.
    """

    def __init__(self, *, running: int, waiting: int) -> None:
        self._free = running
        self._waiting = waiting
        self._turns: deque[threading.Lock] = deque()  # one for each waiting thread, which blocks on it
        self._lock = threading.Lock()

    def enter(self, *, until: float) -> None:
        """Take a place; wait for it until the time.monotonic() `until`. Every enter needs a leave.

        Raises Full at once if too many threads wait already, or TooLate at `until`.
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
        # Race: `leave` chose this thread in the moment in which the wait ended, so the place is ours.

    def leave(self) -> None:
        """Hand the place to the thread that has waited longest, so that no later thread overtakes it."""
        with self._lock:
            if self._turns:
                self._turns.popleft().release()
            else:
                self._free += 1


class SharedPlaces:
    """A number of places that several processes share, so that one bound holds for all of them.

    gunicorn's workers get unequal shares of the connections. One worker may get every login; then it may use
    every core, and the other workers wait.

    Each place is a byte of one file. A process holds a place while it has locked the byte. The kernel unlocks
    the bytes of a killed process. The kernel does not report an unlock, so a waiter tries again every few
    milliseconds. Two queues keep that cheap: one thread of each process waits for the turn, which is one more
    byte, and only the process that has the turn tries the places.
    """

    POLL_SECONDS = 0.005

    def __init__(self, descriptor: int, count: int) -> None:
        self._descriptor = descriptor
        self._turn_byte = count  # behind the bytes of the places
        # A process can lock its own byte again without noticing (POSIX locks belong to the process). So the
        # places of this process are kept here, and its threads try only the others.
        self._free = list(range(count))
        self._lock = threading.Lock()
        self._waiter = threading.Lock()  # held by the one waiting thread of this process
        self._yield_until = 0.0
        self._warned = False

    def enter(self, *, until: float) -> int | None:
        """Take a place; wait for it until the time.monotonic() `until`. Return it, to be handed to `leave`.

        Returns None if the file cannot be locked; then only the bound of each process holds. Raises TooLate.
        """
        if not self._waiter.acquire(timeout=max(0.0, until - time.monotonic())):
            raise TooLate
        try:
            time.sleep(max(0.0, self._yield_until - time.monotonic()))
            self._poll(lambda: self._lock_byte(self._turn_byte), until)
            try:
                return self._poll(self._take, until)
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._turn_byte)
                # Fairness: the other processes try before this one tries again.
                self._yield_until = time.monotonic() + 2 * self.POLL_SECONDS
        except OSError as exc:
            if not self._warned:
                self._warned = True
                log.warning("hash_slots_not_shared: %s", exc)
            return None
        finally:
            self._waiter.release()

    def leave(self, place: int | None) -> None:
        """Give the place back that `enter` returned."""
        if place is not None:
            with self._lock:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)
                self._free.append(place)

    def _poll(self, try_once: Callable[[], int | None], until: float) -> int:
        """Call `try_once` until it returns the byte that it has locked. Raises TooLate."""
        while (byte := try_once()) is None:
            if time.monotonic() >= until:
                raise TooLate
            time.sleep(self.POLL_SECONDS)
        return byte

    def _take(self) -> int | None:
        """Return a place that is now locked. Returns None if all are taken."""
        with self._lock:
            for place in self._free:
                if self._lock_byte(place) is not None:
                    self._free.remove(place)
                    return place
        return None

    def _lock_byte(self, byte: int) -> int | None:
        """Return the byte, now locked. Returns None if another process has locked it."""
        with suppress(BlockingIOError, PermissionError):  # POSIX allows either for "locked"
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return byte
        return None
