"""Removes the rows of every table that are over, also if nobody logs in.

Each worker has a timer. A lock in the database lets one worker of all replicas remove rows at a time.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from datetime import datetime

from auth import sessions
from auth.mail import outbox
from auth.throttling import counters
from auth.tokens import one_time, tickets
from auth.two_factor import factors
from db import Cursor, Database, DatabaseUnavailable, transaction
from runtime import clock

FIRST_SECONDS = 60.0  # at most, until the first run of a process
PERIOD_SECONDS = 600.0
BATCH_ROWS = 500  # of a table in one transaction, so that no statement takes long
LOCK = 0x55534553  # "USES": the advisory lock of the worker that removes rows

# For each table a function that removes up to `at_most` rows that are over, and returns their number.
PURGES: tuple[Callable[..., int], ...] = (
    sessions.purge,
    counters.purge,
    one_time.purge,
    tickets.purge,
    factors.purge,
    outbox.purge,
)

log = logging.getLogger("auth")


def purge(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Remove up to `at_most` rows of each table that are over, and return how many. now: aware."""
    return sum(purge_table(cur, now=now, at_most=at_most) for purge_table in PURGES)


def purge_alone(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Do the same as `purge`, or nothing if another worker does it at this moment."""
    with transaction(cur):
        cur.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,))
        return purge(cur, now=now, at_most=at_most) if cur.fetchone() == (True,) else 0


def batches(database: Database, remove: Callable[..., int] = purge) -> Iterator[int]:
    """Remove all rows that are over now. Yield the number of rows of each batch, at least 1."""
    now = clock.now()  # once: in a storm of requests rows expire all the time, and no batch would be the last
    while count := database.write(remove, now=now, at_most=BATCH_ROWS):
        yield count


def run(database: Database) -> None:
    """Remove all rows that are over, unless another worker does.

    A failure is logged, and the next run goes on.
    """
    removed = 0
    try:
        for count in batches(database, purge_alone):
            removed += count
    except DatabaseUnavailable as exc:
        log.warning("rows_not_purged: %s", exc)
    except Exception:
        log.exception("housekeeping_failed")  # the timer must not end with its thread
    if removed:
        log.info("rows_purged count=%s", removed)


def start(database: Database) -> None:
    """Run in a thread of its own, about every PERIOD_SECONDS, until the process ends."""
    threading.Thread(target=_repeat, args=(database,), name="housekeeping", daemon=True).start()


def _repeat(database: Database) -> None:
    pause = threading.Event()
    # At random, or all workers would begin at the same moment (thundering herd).
    pause.wait(FIRST_SECONDS * random.random())  # noqa: S311
    while True:
        run(database)
        pause.wait(PERIOD_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
