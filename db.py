"""The way to PostgreSQL: a small connection pool, deadlines, transactions and the schema.

Only this module opens or closes connections. It knows nothing of HTTP, nor of any table.
"""

import logging
import os
import re
import select
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg2
from psycopg2.extensions import (
    POLL_OK,
    POLL_READ,
    TRANSACTION_STATUS_IDLE,
    connection,
    cursor,
    make_dsn,
    parse_dsn,
)

from bulkhead import Bulkhead, Full, TooLate

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA_FILE = Path(__file__).with_name("schema.sql")
SCHEMA_LOCK = 0x55534552  # "USER": the advisory lock that starting processes queue for

OPERATION_SECONDS = 4.0  # waiting, connecting, the statement and its one retry together
STATEMENT_SECONDS = 3.0  # PostgreSQL's own limit, below ours so that the connection survives it
WAITING = 32  # how many threads may wait for a pooled connection
WAIT_SECONDS = 1.0
PING_SECONDS = 2.0
PINGS_WAITING = 8
SCHEMA_SECONDS = 20.0  # at start; building an index on a large table takes a while
SCHEMA_RETRY_SECONDS = 10.0

log = logging.getLogger("db")


class DatabaseUnavailable(Exception):
    """PostgreSQL cannot be reached, refused, or did not answer in time."""


class ConnectionLost(DatabaseUnavailable):
    """The connection broke under a statement; a fresh one may work."""


class PoolExhausted(DatabaseUnavailable):
    """Every pooled connection stayed in use for as long as a request may wait."""


class PoolFull(PoolExhausted):
    """As many as may wait for a pooled connection are waiting already."""


class SchemaError(DatabaseUnavailable):
    """schema.sql cannot be applied to this database; the message says why."""


class Connection(connection):
    """A psycopg2 connection in autocommit that keeps the object which waits for its answers."""

    readable: "select.poll | None" = None  # not select(): that fails on descriptors above 1023

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
            self._places.enter(until=min(time.monotonic() + self._wait_seconds, _limit.at))
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
        while self._idle:
            conn = self._idle.pop()
            if conn.is_usable():
                return conn
            conn.close()
        return None

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()


class Database:
    """PostgreSQL as the rest of the service sees it: statements in, rows or DatabaseUnavailable out."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        # Waiting for PostgreSQL in Python is what makes deadlines possible: libpq's own waits never end
        # when the server is frozen.
        psycopg2.extensions.set_wait_callback(_wait)
        self._dsn = _with_session_options(url)
        connect = self._connect_to_schema
        self._pool = Pool(connect, size=pool_size, waiting=WAITING, wait_seconds=WAIT_SECONDS)
        # A pool of its own: whether the database answers must not depend on who holds the others.
        self._ping_pool = Pool(connect, size=1, waiting=PINGS_WAITING, wait_seconds=PING_SECONDS)
        self._schema_ready = False
        self._schema_failure: SchemaError | None = None
        self._schema_retry_at = 0.0

    def read(self, query: Callable[Concatenate[cursor, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one idempotent statement; a connection that breaks under it is replaced once."""
        _limit.at = time.monotonic() + OPERATION_SECONDS
        try:
            return self._run(self._pool, query, *args, **kwargs)
        except ConnectionLost:
            return self._run(self._pool, query, *args, **kwargs)

    def write(self, query: Callable[Concatenate[cursor, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one statement in autocommit: one round trip, never retried."""
        _limit.at = time.monotonic() + OPERATION_SECONDS
        return self._run(self._pool, query, *args, **kwargs)

    def ping(self, query: Callable[[cursor], T]) -> T:
        """Run `query` on a connection kept for health checks, within PING_SECONDS.

        Raises PoolFull when enough others are asking.
        """
        _limit.at = time.monotonic() + PING_SECONDS
        return self._run(self._ping_pool, query)

    def apply_schema(self, *, seconds: float = SCHEMA_SECONDS) -> None:
        """Create what schema.sql describes and the database lacks.

        Any number of processes may do so at once. Raises SchemaError or DatabaseUnavailable.
        """
        _limit.at = time.monotonic() + seconds
        conn = self._connect()
        try:
            _apply_schema(conn, seconds)
        finally:
            conn.close()
        self._schema_ready = True

    def close(self) -> None:
        """Close every idle connection."""
        self._pool.close()
        self._ping_pool.close()

    def _run(
        self, pool: Pool, query: Callable[Concatenate[cursor, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        conn = pool.take()
        try:
            with conn.cursor() as cur:
                return query(cur, *args, **kwargs)
        except (psycopg2.IntegrityError, psycopg2.DataError):
            raise  # what the driver says of the data, not of the server
        except psycopg2.Error as exc:
            raise (ConnectionLost if conn.closed else DatabaseUnavailable)(_first_line(exc)) from exc
        finally:
            pool.give_back(conn)

    def _connect(self) -> Connection:
        try:
            return psycopg2.connect(self._dsn, connection_factory=Connection)
        except psycopg2.Error as exc:
            raise DatabaseUnavailable(f"cannot connect: {_first_line(exc)}") from exc

    def _connect_to_schema(self) -> Connection:
        """Connect, and see to the schema if the database was away when the service started."""
        if self._schema_failure and time.monotonic() < self._schema_retry_at:
            raise self._schema_failure
        conn = self._connect()
        if not self._schema_ready:
            try:
                _apply_schema(conn, STATEMENT_SECONDS)
            except DatabaseUnavailable as exc:
                conn.close()
                self._remember(exc)
                raise
            self._schema_ready = True
        return conn

    def _remember(self, exc: DatabaseUnavailable) -> None:
        if isinstance(exc, SchemaError):
            self._schema_failure = exc
            self._schema_retry_at = time.monotonic() + SCHEMA_RETRY_SECONDS


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


def _apply_schema(conn: Connection, seconds: float) -> None:
    schema = SCHEMA_FILE.read_text(encoding="utf-8")
    names = re.findall(r"IF NOT EXISTS (\w+)", schema)
    try:
        with conn.cursor() as cur:
            if not _missing(cur, names):
                return  # Asking first spares a restart the locks that CREATE takes, and the right to create.
            with transaction(cur):
                cur.execute("SELECT set_config('statement_timeout', %s, true)", (f"{seconds * 1000:.0f}",))
                cur.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
                cur.execute(schema)
    except psycopg2.OperationalError as exc:
        raise DatabaseUnavailable(_first_line(exc)) from exc
    except psycopg2.Error as exc:
        raise SchemaError(f"schema.sql cannot be applied: {_first_line(exc)}") from exc
    log.info("schema_applied objects=%s", ",".join(names))


def _missing(cur: cursor, names: list[str]) -> bool:
    cur.execute("SELECT bool_or(to_regclass(name) IS NULL) FROM unnest(%s) AS name", (names,))
    row = cur.fetchone()
    return row is None or bool(row[0])


def _first_line(exc: psycopg2.Error) -> str:
    """Return what may be logged of a driver's error: the lines after the first quote rows."""
    return next(iter(str(exc).splitlines()), type(exc).__name__)


def _with_session_options(url: str) -> str:
    """Return `url` as a DSN whose sessions run in UTC, speak UTF-8 and end what takes too long."""
    given = parse_dsn(url)
    limits = (
        f"-c timezone=UTC -c statement_timeout={STATEMENT_SECONDS * 1000:.0f}"
        " -c idle_in_transaction_session_timeout=10000"
    )
    given["options"] = f"{given.get('options', '')} {limits}".strip()
    given["client_encoding"] = "UTF8"
    given.setdefault("fallback_application_name", "user-service")
    return str(make_dsn(**given))


_limit = threading.local()  # .at: when what this thread asks of PostgreSQL has to be answered


def _seconds_left() -> float:
    return float(_limit.at - time.monotonic())


def _wait(conn: connection) -> None:
    """Wait as libpq asks, until the thread's deadline. psycopg2 closes the connection when this raises.

    The callback serves every connection of the process; those that are not ours have no deadline.
    """
    while (state := conn.poll()) != POLL_OK:
        left = _seconds_left() if isinstance(conn, Connection) else 60.0
        if left <= 0:
            raise DatabaseUnavailable("PostgreSQL did not answer in time")
        if state == POLL_READ and isinstance(conn, Connection) and conn.readable:
            conn.readable.poll(left * 1000)
        else:
            poller = select.poll()
            poller.register(conn.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
            poller.poll(left * 1000)
