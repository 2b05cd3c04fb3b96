"""Removes the rows that are over, of every table, also if nobody logs in.

Each worker has a timer. A lock in the database lets one worker of all replicas do the work at a time.
"""

import logging
import random
import threading
from collections.abc import Callable
from datetime import datetime

from auth import sessions
from db import Cursor, Database, DatabaseUnavailable, transaction
from runtime import clock

PERIOD_SECONDS = 600.0
BATCH_ROWS = 500  # of a table in one transaction, so that no statement takes long
LOCK = 0x55534553  # "USES": the advisory lock of the worker that does the work

# What each table has to remove: up to `at_most` rows, and the number of rows that were removed.
PURGES: tuple[Callable[..., int], ...] = (sessions.purge,)

log = logging.getLogger("auth")


def purge(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Remove up to `at_most` rows that are over of each table, and return how many. now: aware."""
    return sum(purge_table(cur, now=now, at_most=at_most) for purge_table in PURGES)


def purge_alone(cur: Cursor, *, now: datetime, at_most: int) -> int:
    """Do what `purge` does, or nothing if another worker does it at this moment."""
    with transaction(cur):
        cur.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,))
        return purge(cur, now=now, at_most=at_most) if cur.fetchone() == (True,) else 0


def run(database: Database) -> None:
    """Remove everything that is over, in batches. A failure is logged; the next run goes on."""
    removed = 0
    try:
        while batch := database.write(purge_alone, now=clock.now(), at_most=BATCH_ROWS):
            removed += batch
    except DatabaseUnavailable as exc:
        log.warning("sessions_not_purged: %s", exc)
    except Exception:
        log.exception("housekeeping_failed")  # the timer must not end with its thread
    if removed:
        log.info("sessions_purged count=%s", removed)


def start(database: Database) -> None:
    """Run in a thread of its own, about every PERIOD_SECONDS, until the process ends."""
    threading.Thread(target=_repeat, args=(database,), name="housekeeping", daemon=True).start()


def _repeat(database: Database) -> None:
    pause = threading.Event()
    while True:
        # At random, or all workers would begin at the same moment (thundering herd).
        pause.wait(PERIOD_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
        run(database)
