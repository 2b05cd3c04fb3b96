"""Connections to PostgreSQL: the pool, transactions, and the deadline of everything that a thread asks."""

import os
import select
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_IDLE, connection, cursor

from bulkhead import Bulkhead, Full, TooLate


class DatabaseUnavailable(Exception):
    """PostgreSQL cannot be reached, refused, or did not answer in time."""


class ConnectionLost(DatabaseUnavailable):
    """The connection broke under a statement; a fresh one may work."""


class Undone(DatabaseUnavailable):
    """PostgreSQL undid a transaction because of another one: a second try may succeed."""


class StatementRefused(DatabaseUnavailable):
    """PostgreSQL works and refuses the statement: trying again, or another connection, does not help."""


class PoolExhausted(DatabaseUnavailable):
    """Every pooled connection stayed in use for as long as a request may wait."""


class PoolFull(PoolExhausted):
    """As many as may wait for a pooled connection are waiting already."""


class Connection(connection):
    """A psycopg2 connection in autocommit that keeps the object which waits for its answers."""

    readable: "select.poll | None" = None  # not select(): that fails on descriptors above 1023
    clock_offset: float | None = None  # what the server's clock shows more than time.monotonic(), once known

    def __init__(self, dsn: str, **kwargs: Any) -> None:
        super().__init__(dsn, **kwargs)
        self.autocommit = True
        self.readable = select.poll()
        self.readable.register(self.fileno(), select.POLLIN)

    def is_usable(self) -> bool:
        """Return whether the server still listens: PostgreSQL speaks first only to say goodbye."""
        return self.readable is not None and not self.readable.poll(0)

    def is_idle(self) -> bool:
        """Return whether the connection is open and outside a transaction."""
        return bool(self.get_transaction_status() == TRANSACTION_STATUS_IDLE)


class Pool:
    """At most `size` connections, opened when first needed and kept; the last one used goes out first."""

    def __init__(
        self, connect: Callable[[], Connection], *, size: int, waiting: int, wait_seconds: float
    ) -> None:
        self._connect = connect
        self._size = size
        self._waiting = waiting
        self._wait_seconds = wait_seconds
        self._forget()
        # A connection shared by two processes mixes up their answers. psycopg2 does not close
        # what another process opened, so forgetting is enough.
        forget = weakref.WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def _forget(self) -> None:
        self._idle: list[Connection] = []
        self._places = Bulkhead(running=self._size, waiting=self._waiting)

    def take(self) -> Connection:
        """Return a connection that is alive, to be given back.

        Raises PoolFull at once or PoolExhausted in the end.
        """
        try:
            self._places.enter(until=min(time.monotonic() + self._wait_seconds, limit.at))
        except TooLate:
            raise PoolExhausted("every pooled connection stayed in use") from None
        except Full:
            raise PoolFull("too many threads wait for a pooled connection") from None
        try:
            return self._alive() or self._connect()
        except BaseException:
            self._places.leave()
            raise

    def give_back(self, conn: Connection) -> None:
        """Keep a connection for the next caller, unless it is closed or left in a transaction."""
        if conn.is_idle():
            self._idle.append(conn)
        else:
            conn.close()
        self._places.leave()

    def _alive(self) -> Connection | None:
        while True:
            try:
                conn = self._idle.pop()
            except IndexError:
                return None
            if conn.is_usable():
                return conn
            conn.close()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()


limit = threading.local()  # .at: when what this thread asks of PostgreSQL has to be answered


def seconds_left() -> float:
    return float(limit.at - time.monotonic())


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


def described(exc: psycopg2.Error, **more: str) -> str:
    """Return what leads an operator to the cause: the SQLSTATE and what PostgreSQL names, no values."""
    named = {
        "sqlstate": exc.pgcode,
        "table": exc.diag.table_name,
        "column": exc.diag.column_name,
        "constraint": exc.diag.constraint_name,
    } | more
    return f"{' '.join(f'{name}={value}' for name, value in named.items() if value)}: {first_line(exc)}"


def first_line(exc: psycopg2.Error) -> str:
    """Return what may be logged of a driver's error, as one line.

    The server's further fields quote rows. What has no such field comes from a connection that failed,
    and says so of each address that was tried.
    """
    told = exc.diag.message_primary or str(exc)
    return " ".join(told.split()) or type(exc).__name__
