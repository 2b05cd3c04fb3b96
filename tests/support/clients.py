"""Threads that act for a client, as if they answered its request, and wait for places."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from runtime import client
from runtime.bulkhead import Bulkhead, TooLate
from runtime.shared_places import SharedPlaces

STORM, HONEST = "203.0.113.7", "198.51.100.1"


def soon(seconds: float = 5.0) -> float:
    """Return the time.monotonic() until which a caller waits."""
    return time.monotonic() + seconds


@contextmanager
def acting_for(address: str) -> Iterator[None]:
    """Have this thread answer the client at `address` during the block."""
    before, client.current.address = client.current.address, address
    try:
        yield
    finally:
        client.current.address = before


class Visits:
    """Threads that enter `places`, each for a client, and stay until `end`.

    served: the clients in the order in which they entered.
    """

    def __init__(self, places: Bulkhead | SharedPlaces) -> None:
        self._places = places
        self._may_leave = threading.Event()
        self._threads: list[threading.Thread] = []
        self.served: list[str] = []

    def begin(self, address: str, *, seconds: float = 20.0) -> None:
        """Start a thread, and return when it waits; it gives up after so many seconds."""
        waiting = len(self._places._queue)
        until = time.monotonic() + seconds
        self._threads.append(threading.Thread(target=self._visit, args=(address, until)))
        self._threads[-1].start()
        self.wait_until_waiting(waiting + 1)

    def wait_until_waiting(self, count: int) -> None:
        """Return once so many threads wait."""
        deadline = time.monotonic() + 5
        while len(self._places._queue) != count:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def end(self) -> None:
        self._may_leave.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, address: str, until: float) -> None:
        with suppress(TooLate), acting_for(address), self._places.hold(until=until):
            self.served.append(address)
            self._may_leave.wait(20)
