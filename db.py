"""The way to PostgreSQL: statements with deadlines, transactions and the schema.

Only this module opens connections. It knows nothing of HTTP, nor of any table.
"""

import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import psycopg2
from psycopg2.errors import DeadlockDetected, SerializationFailure
from psycopg2.extensions import cursor, make_dsn, parse_dsn

import schema
from in_time import STATEMENT_SECONDS, InTime
from pool import (
    Connection,
    ConnectionLost,
    DatabaseUnavailable,
    Pool,
    StatementRefused,
    Undone,
    described,
    first_line,
    limit,
    wait,
)
from pool import transaction as transaction
from schema import SchemaError as SchemaError
from schema import require_usable as require_usable

P = ParamSpec("P")
T = TypeVar("T")


OPERATION_SECONDS = 4.0  # waiting, connecting, the statement and its one retry together
WAITING = 32  # how many threads may wait for a pooled connection
WAIT_SECONDS = 1.0
PING_SECONDS = 2.0
PINGS_WAITING = 8
SCHEMA_SECONDS = 20.0  # at start; building an index on a large table takes a while
SCHEMA_RETRY_SECONDS = 10.0

# PostgreSQL speaks of a value, a constraint, a name, a right or a trigger, not of itself.
ABOUT_THE_STATEMENT = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    psycopg2.ProgrammingError,
    psycopg2.NotSupportedError,
    psycopg2.errors.RaiseException,
)


class Database:
    """PostgreSQL as the rest of the service sees it: statements in, rows or DatabaseUnavailable out."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        # Waiting for PostgreSQL in Python is what makes deadlines possible: libpq's own waits never end
        # when the server is frozen.
        psycopg2.extensions.set_wait_callback(wait)
        self._dsn = _with_session_options(url)
        self._pool = Pool(self._connect, size=pool_size, waiting=WAITING, wait_seconds=WAIT_SECONDS)
        # A pool of its own: whether the database answers must not depend on who holds the others.
        self._ping_pool = Pool(self._connect, size=1, waiting=PINGS_WAITING, wait_seconds=PING_SECONDS)
        self._schema_ready = False
        self._schema_failure: SchemaError | None = None
        self._schema_retry_at = 0.0

    def read(self, query: Callable[Concatenate[cursor, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one idempotent statement; a connection that breaks under it is replaced once."""
        limit.at = time.monotonic() + OPERATION_SECONDS
        try:
            return self._run(self._pool, cursor, query, *args, **kwargs)
        except (ConnectionLost, Undone):
            return self._run(self._pool, cursor, query, *args, **kwargs)

    def write(self, query: Callable[Concatenate[cursor, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `query`: one statement is one round trip, for more there is `transaction`.

        `query` runs once more if PostgreSQL has undone it, as it does to end a deadlock; else it is never
        repeated. After the deadline PostgreSQL carries out nothing of it.
        """
        limit.at = time.monotonic() + OPERATION_SECONDS
        try:
            return self._run(self._pool, InTime, query, *args, **kwargs)
        except Undone:
            return self._run(self._pool, InTime, query, *args, **kwargs)

    def ping(self, query: Callable[[cursor], T]) -> T:
        """Run `query` on a connection kept for health checks, within PING_SECONDS."""
        limit.at = time.monotonic() + PING_SECONDS
        return self._run(self._ping_pool, cursor, query)

    def apply_schema(self, *, seconds: float = SCHEMA_SECONDS, again: bool = False) -> None:
        """Create what schema.sql describes and the database lacks.

        Any number of processes may do so at once. again: also when this version of the file was applied
        before, and until nobody holds a lock on the tables. Raises SchemaError or DatabaseUnavailable.
        """
        limit.at = time.monotonic() + seconds
        conn = self._connect()
        try:
            while not schema.apply(conn, self._connect, again=again):
                time.sleep(schema.LOCK_PAUSE_SECONDS)
        except SchemaError as exc:
            self._remember(exc)
            raise
        finally:
            conn.close()
        self._schema_ready = True

    def close(self) -> None:
        """Close every idle connection."""
        self._pool.close()
        self._ping_pool.close()

    def _run(
        self,
        pool: Pool,
        kind: type[cursor],
        query: Callable[Concatenate[cursor, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if not self._schema_ready:
            self._refuse_while_schema_fails()
        conn = pool.take()
        try:
            if not self._schema_ready:
                self._bring_schema(conn)
            with conn.cursor(cursor_factory=kind) as cur:
                return query(cur, *args, **kwargs)
        except psycopg2.Error as exc:
            raise self._failure(exc, conn) from exc
        finally:
            pool.give_back(conn)

    def _connect(self) -> Connection:
        try:
            return psycopg2.connect(self._dsn, connection_factory=Connection)
        except psycopg2.Error as exc:
            raise DatabaseUnavailable(f"cannot connect: {first_line(exc)}") from exc

    def _failure(self, exc: psycopg2.Error, conn: Connection) -> DatabaseUnavailable:
        if lost := schema.lost_table(exc):
            self._schema_ready = False
            return lost
        if isinstance(exc, ABOUT_THE_STATEMENT):
            return StatementRefused(described(exc))
        if isinstance(exc, (DeadlockDetected, SerializationFailure)):
            return Undone(first_line(exc))
        return (ConnectionLost if conn.closed else DatabaseUnavailable)(first_line(exc))

    def _refuse_while_schema_fails(self) -> None:
        if (failure := self._schema_failure) and time.monotonic() < self._schema_retry_at:
            # A new one each time: an exception that is raised again keeps the frames of every time.
            raise SchemaError(str(failure), sentence=failure.sentence) from failure.__cause__

    def _bring_schema(self, conn: Connection) -> None:
        """Apply the schema: the database was away when the service started, or was emptied since."""
        try:
            schema.apply(conn, self._connect)
        except SchemaError as exc:
            self._remember(exc)
            raise
        self._schema_ready = True

    def _remember(self, exc: SchemaError) -> None:
        self._schema_failure = exc
        self._schema_retry_at = time.monotonic() + SCHEMA_RETRY_SECONDS


def is_writable(cur: cursor) -> bool:
    """Return whether the database takes changes; a standby does not."""
    cur.execute("SELECT current_setting('transaction_read_only') = 'off'")
    row = cur.fetchone()
    return row is not None and bool(row[0])


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
