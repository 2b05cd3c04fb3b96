"""One connection to PostgreSQL: its deadline, its age, its transactions."""

import random
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_IDLE, connection, cursor

from runtime.faults import DatabaseUnavailable

AGE_SECONDS = 1800.0  # so that a name that leads elsewhere now, or a server that was added, is noticed
IDLE_SECONDS = 150.0  # less than load balancers and NATs remember a silent flow (Azure 240, AWS 350)
# One round trip, for a connection that was silent for longer: some firewalls forget flows without a word,
# and what was sent into nothing cannot be repeated, for who knows whether it arrived.
SILENT_SECONDS = 1.0
CHECK_SECONDS = 0.5  # half of what others may wait for a place in the pool


class Connection(connection):
    """A psycopg2 connection in autocommit that keeps the object which waits for its answers.

    generation: a number that the pool gives it. local_settings: statements, see LocalCursor. clock_offset:
    what the server's clock shows more than time.monotonic(), None until DeadlineCursor learns it.
    """

    readable: "select.poll | None" = None  # not select(): that fails on descriptors above 1023
    generation = 0
    local_settings = ""
    clock_offset: float | None = None

    def __init__(self, dsn: str, **kwargs: Any) -> None:
        super().__init__(dsn, **kwargs)
        self.autocommit = True
        self.readable = select.poll()
        self.readable.register(self.fileno(), select.POLLIN)
        self.idle_since = time.monotonic()
        # Not all at the same moment.
        self._retires_at = self.idle_since + AGE_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311

    def is_worn_out(self, now: float) -> bool:
        """Return whether the connection is too old, or was idle for too long, to be used again."""
        return now > self._retires_at or now - self.idle_since > IDLE_SECONDS

    def is_hung_up(self) -> bool:
        """Return whether the server has ended the connection: PostgreSQL speaks first only to say goodbye."""
        return self.readable is None or bool(self.readable.poll(0))

    def answers(self, now: float) -> bool:
        """Return whether the server still answers, which only a connection that was silent is asked."""
        if now - self.idle_since < SILENT_SECONDS:
            return True
        try:
            with within(CHECK_SECONDS), self.cursor() as cur:
                cur.execute("SELECT")
        except (psycopg2.Error, DatabaseUnavailable):
            return False
        return True

    def is_idle(self) -> bool:
        """Return whether the connection is open and outside a transaction."""
        return bool(self.get_transaction_status() == TRANSACTION_STATUS_IDLE)

    def settings_before(self) -> str:
        """Return the statements that go before the next one, in the same message; see LocalCursor."""
        return self.local_settings if self.is_idle() else ""


class LocalCursor(cursor):
    """A cursor for a session that a pooler lends to several clients: nothing is set beyond a transaction.

    The settings travel with the statement that begins one; a message of several statements is one.
    """

    def execute(self, query: str, parameters: Any = None) -> None:  # type: ignore[override]
        """Run `query` under the connection's local_settings."""
        conn: Connection = self.connection  # type: ignore[assignment]
        super().execute(conn.settings_before() + query, parameters)


limit = threading.local()  # .at: when what this thread asks of PostgreSQL has to be answered


def seconds_left() -> float:
    return float(limit.at - time.monotonic())


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give the block a part of the time that is left."""
    whole = limit.at
    limit.at = min(whole, time.monotonic() + seconds)
    try:
        yield
    finally:
        limit.at = whole


def wait(conn: connection) -> None:
    """Wait as libpq asks, until the thread's deadline. psycopg2 closes the connection when this raises.

    The callback serves every connection of the process; those that are not ours have no deadline.
    """
    while (state := conn.poll()) != POLL_OK:
        left = seconds_left() if isinstance(conn, Connection) else 60.0
        if left <= 0:
            raise DatabaseUnavailable("PostgreSQL did not answer in time")
        if state == POLL_READ and isinstance(conn, Connection) and conn.readable:
            conn.readable.poll(left * 1000)
        else:
            poller = select.poll()
            poller.register(conn.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
            poller.poll(left * 1000)


@contextmanager
def transaction(cur: cursor) -> Iterator[None]:
    """Commit what the block does with `cur`, or none of it."""
    cur.execute("BEGIN")
    try:
        yield
    except BaseException:
        if not cur.connection.closed:
            cur.execute("ROLLBACK")
        raise
    cur.execute("COMMIT")
