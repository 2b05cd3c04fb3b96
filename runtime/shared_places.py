"""Places that several processes share, as the bytes of one file that all of them have open."""

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from runtime import client
from runtime.bulkhead import TooLate
from runtime.fair_queue import FairQueue, Turn

log = logging.getLogger("bulkhead")


class SharedPlaces:
    """A number of places that several processes share, so that one bound holds for all of them.

    gunicorn's workers get unequal shares of the connections. One worker may get every login; then it may use
    every core, and the other workers wait.

    A process holds a place while it has locked its byte. The kernel unlocks the bytes of a killed process.
    The kernel does not report an unlock, so a waiter tries again every few milliseconds. Two queues keep that
    cheap. In each process one of the waiting threads is the leader, and hands every place that it gets to the
    next in the queue (FairQueue), who is chosen when the place is there. Among the processes, only the one
    that has the turn, which is one more byte, tries the places.

    count: how many places there are. waiting: how many threads of a process may wait, plus one for
    each place that this process does not hold.
    """

    POLL_SECONDS = 0.005

    def __init__(self, descriptor: int, count: int, *, waiting: int) -> None:
        self._descriptor = descriptor
        self._turn_byte = count  # behind the bytes of the places
        # A process can lock its own byte again without noticing (POSIX locks belong to the process). So the
        # places of this process are kept here, and its threads try only the others.
        self._free = list(range(count))
        self._lock = threading.Lock()  # of the queue and the places
        self._queue = FairQueue(waiting)
        self._leader: Turn | None = None
        self._yield_until = 0.0
        self._warned = False

    def enter(self, *, until: float) -> int:
        """Take a place; wait for it until the time.monotonic() `until`. Return it, to be handed to `leave`.

        Raises Full at once if too many threads wait already, or TooLate at `until`.
        """
        with self._lock:
            turn = self._queue.add(client.current_network(), extra=len(self._free))
            if not self._leader:
                self._appoint(turn)
        try:
            if turn.lock.acquire(timeout=max(0.0, until - time.monotonic())):
                self._lead_for(turn, until)  # unless the thread was woken with a place
        finally:
            with self._lock:
                self._queue.remove(turn)  # nothing, if the turn has its place
                if self._leader is turn:
                    self._appoint(self._queue.first())
        if turn.place is None:
            raise TooLate
        return turn.place

    def leave(self, place: int) -> None:
        """Give the place back that `enter` returned."""
        with self._lock:
            self._unlock_byte(place)
            self._free.append(place)

    @contextmanager
    def hold(self, *, until: float) -> Iterator[None]:
        """Hold a place during the block. Raises Full or TooLate, as `enter` does."""
        place = self.enter(until=until)
        try:
            yield
        finally:
            self.leave(place)

    def _appoint(self, turn: Turn | None) -> None:
        self._leader = turn
        if turn:
            turn.lock.release()

    def _lead_for(self, turn: Turn, until: float) -> None:
        """Hand places to the threads of this process until `turn` has one, or until `until`."""
        while turn.place is None:
            place = self._find_place(until)
            if place is None:
                return
            with self._lock:
                chosen = self._queue.pop()
                chosen.place = place
                if chosen is not turn:
                    chosen.lock.release()

    def _find_place(self, until: float) -> int | None:
        """Return a place that is now locked. Returns None at `until`."""
        time.sleep(max(0.0, self._yield_until - time.monotonic()))
        if self._poll(lambda: self._lock_byte(self._turn_byte), until) is None:
            return None
        try:
            return self._poll(self._take, until)
        finally:
            self._unlock_byte(self._turn_byte)
            # Fairness: the other processes try before this one tries again.
            self._yield_until = time.monotonic() + 2 * self.POLL_SECONDS

    def _poll(self, try_once: Callable[[], int | None], until: float) -> int | None:
        """Call `try_once` until it returns the byte that it has locked. Returns None at `until`."""
        while (byte := try_once()) is None and time.monotonic() < until:
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
        """Return the byte, now locked. Returns None if another process has locked it.

        If the file cannot be locked, every byte counts as locked by this process alone: each process then has
        all the places for itself.
        """
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):  # POSIX allows either for "locked"
            return None
        except OSError as exc:
            if not self._warned:
                self._warned = True
                log.warning("hash_slots_not_shared: %s", exc)
        return byte

    def _unlock_byte(self, byte: int) -> None:
        with suppress(OSError):  # the file cannot be locked, as _lock_byte has said
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)
