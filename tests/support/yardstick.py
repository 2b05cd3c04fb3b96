"""How slow this machine is at the moment: the CPU time of a fixed piece of work.

The work is of the kind that the most expensive bodies cause: a parser that builds 30,000 containers, lists
that hold them level by level, and strings. So it waits for the same caches and the same memory, and causes
the same garbage collections: a neighbour on a shared machine slows it down as much as a request.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

IDLE_SECONDS = 0.008  # measured on an idle machine: 6 to 9 ms, by the version of Python
TRIES = 20
BODY = '{"a": [' + ",".join(["[[[[]]]]"] * 7_200) + "]}"


@contextmanager
def untraced() -> Iterator[None]:
    """Trace no coverage, which would take its time from what is measured."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


def seconds() -> float:
    """Return the CPU time that the work takes this thread."""
    started = time.thread_time()
    values = [json.loads(BODY)["a"]]
    while values:
        values = list(chain.from_iterable([value for value in values if type(value) is list]))
    sum(len(str(number)) for number in range(20_000))
    return time.thread_time() - started


def share(measure: Callable[[], float], max_seconds: float) -> float:
    """Return which share of `max_seconds` the best of TRIES takes; below 1 no further try is needed.

    measure: returns seconds of CPU time. The first try counts as it is. The yardstick is measured before and
    after each further one, and its best counts, too: what disturbs the yardstick alone excuses nothing.
    """
    with untraced():
        taken = [measure()]
        yardsticks = [IDLE_SECONDS if taken[0] < max_seconds else seconds()]
        while (least := min(taken) / max_seconds / slowness(yardsticks)) >= 1 and len(taken) < TRIES:
            taken.append(measure())
            yardsticks.append(seconds())
    return least


def slowness(yardsticks: list[float]) -> float:
    """Return how many times slower than an idle machine this one is, at least 1. The best measure counts."""
    return max(1.0, min(yardsticks) / IDLE_SECONDS)
