"""Calls that meet: made at the same moment, or held up at the same lock."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import SECRET_KEY, service
from tests.support.actor import Actor
from tests.support.database import held_open, run_sql

Call = Callable[[], Any]
NewUser = Callable[[str], Actor]
SessionCount = Callable[[Actor], int]


def deadlocks(url: str) -> int:
    """Return how many deadlocks there were.

    A backend reports its own at the latest when it ends: so the service's backends are terminated.
    """
    run_sql(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'user-service' AND datname = current_database()",
    )
    rows = run_sql(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(rows[0][0])


@contextmanager
def two_workers(
    log: Path, database_url: str, *, bcrypt_rounds: int, before: str = ""
) -> Iterator[service.Service]:
    """Serve with two workers until the block ends, and fail if an exception was logged.

    before: a command of the shell that runs first, in the folder of the code.
    """
    environ = {"DB_URL": database_url, "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": str(bcrypt_rounds)}
    with service.running(log, before=before, **environ, **service.UNREACHED_LIMITS) as started:
        deadline = time.monotonic() + 10
        while len(started.workers()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield started
    assert '"exception"' not in log.read_text()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a worker, so that the other one answers."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def at_once(*calls: Call) -> list[Any]:
    """Make every call in a thread of its own, all at the same moment; return the answers in their order."""
    barrier = threading.Barrier(len(calls))

    def run(call: Call) -> Any:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def statuses(answers: list[Any]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def wait_until_blocked(url: str, count: int) -> None:
    """Return once so many statements wait for a lock."""
    blocked = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 2
    while run_sql(url, blocked) != [(count,)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_both(url: str, first: Call, second: Call, *, held: str) -> list[Any]:
    """Make two calls that both come to wait behind the lock that `held` takes, then let them go."""
    with ThreadPoolExecutor(2) as threads:
        with held_open(url, held):
            answers = [threads.submit(first)]
            wait_until_blocked(url, 1)
            answers.append(threads.submit(second))
            wait_until_blocked(url, 2)
        return [answer.result() for answer in answers]
