"""Small queries of the tests for Database.read and Database.write, and questions about its connections."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from db import Cursor
from tests.support.database import run_sql


def scalar(cur: Cursor, statement: str = "SELECT 1") -> object:
    cur.execute(statement)
    row = cur.fetchone()
    assert row
    return row[0]


def backend_pid(cur: Cursor) -> int:
    pid = scalar(cur, "SELECT pg_backend_pid()")
    assert isinstance(pid, int)
    return pid


def at_once(operations: list[Callable[..., object]], query: Callable[[Cursor], object]) -> None:
    """Run `query` by all operations at once, each in a thread of its own."""
    with ThreadPoolExecutor(len(operations)) as threads:
        for done in [threads.submit(operation, query) for operation in operations]:
            done.result()


def count_connections(url: str) -> int:
    """Return how many connections the service holds to the database of `url`."""
    statement = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'user-service' AND datname = current_database()"
    )
    return int(run_sql(url, statement)[0][0])


def has_valid_index(url: str, index: str) -> bool:
    rows = run_sql(url, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", index)
    return rows == [(True,)]


def wait_until(url: str, condition: str, *parameters: object, seconds: float = 10.0) -> None:
    """Wait until PostgreSQL says that `condition` holds."""
    deadline = time.monotonic() + seconds
    while run_sql(url, f"SELECT {condition}", *parameters) != [(True,)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
