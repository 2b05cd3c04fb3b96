"""One connection to PostgreSQL: how it waits, how old it may become, and its transactions."""

import random
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_IDLE, connection, cursor

from runtime import deadline
from runtime.faults import DatabaseUnavailable

# Old connections are replaced, so that the service notices a moved host name and an added server.
AGE_SECONDS = 1800.0
# Load balancers and NATs forget a silent connection after 240 s (Azure) or 350 s (AWS).
IDLE_SECONDS = 150.0
# Some firewalls forget a silent connection earlier, and tell neither end. A write that is sent into such a
# connection cannot be repeated, because nobody knows whether it arrived. So a connection that was silent for
# longer than this is checked first, which costs one round trip.
SILENT_SECONDS = 1.0
CHECK_SECONDS = 0.5  # half of the time that other threads may wait for a pooled connection
FOREIGN_SECONDS = 60.0  # for a connection that another library opened; it has no deadline


class Connection(connection):
    """A psycopg2 connection in autocommit that keeps its own poller.

    generation: the pool's number for connections of the same age.
    local_settings: the SQL that LocalCursor puts before a statement.
    clock_offset: seconds, server clock minus time.monotonic(). None until DeadlineCursor learns it.
    """

    _poller: "select.poll | None" = None  # select() fails on descriptors above 1023
    generation = 0
    local_settings = ""
    clock_offset: float | None = None

    def __init__(self, dsn: str, **kwargs: Any) -> None:
        super().__init__(dsn, **kwargs)
        self.autocommit = True
        self._poller = select.poll()
        self._poller.register(self.fileno(), select.POLLIN)
        self.idle_since = time.monotonic()
        # The random part prevents a thundering herd: connections of one moment retire at different times.
        self._retires_at = self.idle_since + AGE_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311

    def is_worn_out(self, now: float) -> bool:
        """Return whether the connection is too old, or was idle for too long, to be used again."""
        return now > self._retires_at or now - self.idle_since > IDLE_SECONDS

    def is_hung_up(self) -> bool:
        """Return whether the server has ended the idle connection.

        PostgreSQL sends nothing to an idle client but its last message, so a readable socket has been closed.
        """
        return self._poller is None or bool(self._poller.poll(0))

    def answers(self, now: float) -> bool:
        """Return whether the server answers. Only a connection that was silent is checked."""
        if now - self.idle_since < SILENT_SECONDS:
            return True
        try:
            with deadline.within(CHECK_SECONDS), self.cursor() as cur:
                cur.execute("SELECT")
        except (psycopg2.Error, DatabaseUnavailable):
            return False
        return True

    def is_idle(self) -> bool:
        """Return whether the connection is open and outside a transaction."""
        return bool(self.get_transaction_status() == TRANSACTION_STATUS_IDLE)

    def settings_before(self) -> str:
        """Return the SQL that must go before the next statement, in the same message; see LocalCursor."""
        return self.local_settings if self.is_idle() else ""


class LocalCursor(cursor):
    """A cursor for a server session that a pooler lends to several clients.

    A setting must not outlive the transaction, or it would reach another client. The settings travel in the
    message of the statement that begins a transaction; PostgreSQL runs the statements of one message in one.
    """

    def execute(self, query: str, parameters: Any = None) -> None:  # type: ignore[override]
        """Run `query` under the connection's local_settings."""
        conn: Connection = self.connection  # type: ignore[assignment]
        super().execute(conn.settings_before() + query, parameters)


def wait(conn: connection) -> None:
    """Wait as libpq asks, until the thread's deadline. psycopg2 closes the connection when this raises.

    psycopg2 calls this for every connection of the process, also for those of other libraries.
    """
    while (state := conn.poll()) != POLL_OK:
        seconds = deadline.seconds_left() if isinstance(conn, Connection) else FOREIGN_SECONDS
        if seconds <= 0:
            raise DatabaseUnavailable("PostgreSQL did not answer in time")
        if state == POLL_READ and isinstance(conn, Connection) and conn._poller:
            conn._poller.poll(seconds * 1000)
        else:
            poller = select.poll()
            poller.register(conn.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
            poller.poll(seconds * 1000)


@contextmanager
def transaction(cur: cursor) -> Iterator[None]:
    """Commit everything that the block does with `cur`; roll everything back if the block raises."""
    cur.execute("BEGIN")
    try:
        yield
    except BaseException:
        if not cur.connection.closed:
            cur.execute("ROLLBACK")
        raise
    cur.execute("COMMIT")
