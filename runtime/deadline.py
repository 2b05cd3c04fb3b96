"""The deadline of the database operation that this thread carries out.

`start` sets it once for each operation. Waiting for the pool, connecting and every statement share the time.
All moments are those of time.monotonic(), in seconds.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Operation(threading.local):
    deadline: float


_operation = _Operation()


def start(seconds: float) -> None:
    """Start an operation: PostgreSQL has `seconds` from now to answer everything that this thread asks."""
    _operation.deadline = time.monotonic() + seconds


def at() -> float:
    """Return the moment at which the time of this thread's operation is up."""
    return _operation.deadline


def seconds_left() -> float:
    """Return the seconds until the deadline; a negative number if it has passed."""
    return _operation.deadline - time.monotonic()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give the block at most `seconds` of the time that is left; the deadline returns after the block."""
    deadline = _operation.deadline
    _operation.deadline = min(deadline, time.monotonic() + seconds)
    try:
        yield
    finally:
        _operation.deadline = deadline
