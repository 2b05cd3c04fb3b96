"""The only door to PostgreSQL: statements with deadlines, transactions and the schema.

The service takes the cursor's type and the exceptions of PostgreSQL from here, so that no other module needs
to know the driver. This module knows nothing of HTTP, nor of any table.
"""

import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar

import psycopg2
from psycopg2 import DataError, Error, IntegrityError
from psycopg2.errors import (
    CharacterNotInRepertoire,
    CheckViolation,
    NotNullViolation,
    StringDataRightTruncation,
    UniqueViolation,
    UntranslatableCharacter,
)
from psycopg2.extensions import cursor

from runtime import deadline, schema
from runtime.connection import Connection, transaction, wait
from runtime.deadline_cursor import STATEMENT_SECONDS, DeadlineCursor
from runtime.faults import (
    Conflict,
    ConnectionLost,
    DatabaseUnavailable,
    OutOfResources,
    ReadOnly,
    ServerFault,
    StatementRefused,
    described,
    translate,
)
from runtime.hosts import Hosts
from runtime.pool import Pool, PoolExhausted
from runtime.schema import SchemaError, require_usable

__all__ = [
    "CharacterNotInRepertoire",
    "CheckViolation",
    "ConnectionLost",
    "Cursor",
    "DataError",
    "Database",
    "DatabaseUnavailable",
    "Error",
    "IntegrityError",
    "NotNullViolation",
    "PoolExhausted",
    "ReadOnly",
    "SchemaError",
    "StatementRefused",
    "StringDataRightTruncation",
    "UniqueViolation",
    "UntranslatableCharacter",
    "described",
    "require_usable",
    "require_writable",
    "transaction",
]

Cursor: TypeAlias = cursor
P = ParamSpec("P")
T = TypeVar("T")


OPERATION_SECONDS = 4.0  # waiting, connecting, the statement and its one retry together
MAX_POOL_WAITERS = 32  # how many threads may wait for a pooled connection
WAIT_SECONDS = 1.0
PING_SECONDS = 2.0
SCHEMA_SECONDS = 20.0  # at start; building an index on a large table takes a while
SCHEMA_RETRY_SECONDS = 10.0


class Database:
    """PostgreSQL as the rest of the service sees it: statements in, rows or DatabaseUnavailable out."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        # Waiting for PostgreSQL in Python is what makes deadlines possible: libpq's own waits never end
        # when the server is frozen.
        psycopg2.extensions.set_wait_callback(wait)
        self._hosts = Hosts(url, statement_seconds=STATEMENT_SECONDS)
        connect = self._hosts.connect
        self._pool = Pool(connect, size=pool_size, max_waiters=MAX_POOL_WAITERS, wait_seconds=WAIT_SECONDS)
        # A pool of its own: whether the database answers must not depend on who holds the others. Nobody
        # waits for it: there is one check at a time.
        self._ping_pool = Pool(connect, size=1, max_waiters=0, wait_seconds=0.0)
        self._schema_ready = False
        self._schema_failure: SchemaError | None = None
        self._schema_retry_at = 0.0

    def read(self, query: Callable[Concatenate[Cursor, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an idempotent `query`, and once more where a fresh connection may do better."""
        deadline.start(OPERATION_SECONDS)
        return self._repeat(self._pool, (ServerFault, Conflict), None, query, *args, **kwargs)

    def write(self, query: Callable[Concatenate[Cursor, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `query`: one statement is one round trip, for more there is `transaction`.

        Once more only if it certainly did nothing: whether a lost connection's statement was carried out,
        nobody knows. After the deadline PostgreSQL carries out nothing of it.
        """
        deadline.start(OPERATION_SECONDS)
        return self._repeat(
            self._pool, (ReadOnly, OutOfResources, Conflict), DeadlineCursor, query, *args, **kwargs
        )

    def ping(self, query: Callable[[Cursor], T]) -> T:
        """Run `query` as a read on a connection kept for health checks, within PING_SECONDS."""
        deadline.start(PING_SECONDS)
        return self._repeat(self._ping_pool, (ServerFault, Conflict), None, query)

    def apply_schema(self, *, seconds: float = SCHEMA_SECONDS, again: bool = False) -> None:
        """Create what schema.sql describes and the database lacks.

        Any number of processes may do so at once. again: also when this version of the file was applied
        before, and until nobody holds a lock on the tables. Raises SchemaError or DatabaseUnavailable.
        """
        deadline.start(seconds)
        conn = self._hosts.connect()
        try:
            while not schema.apply(conn, self._hosts.connect, again=again):
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

    def _repeat(
        self,
        pool: Pool,
        failures: tuple[type[DatabaseUnavailable], ...],
        kind: type[Cursor] | None,
        query: Callable[Concatenate[Cursor, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `query`, and once more if it fails by one of `failures`."""
        try:
            return self._run(pool, kind, query, *args, **kwargs)
        except failures:
            return self._run(pool, kind, query, *args, **kwargs)

    def _run(
        self,
        pool: Pool,
        kind: type[Cursor] | None,
        query: Callable[Concatenate[Cursor, P], T],
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
            if lost := schema.lost_table(exc):
                self._schema_ready = False
                raise lost from exc
            failure = translate(exc, closed=bool(conn.closed))
            if failure is None:
                raise
            if isinstance(failure, ServerFault):
                pool.renew(conn)
            raise failure from exc
        except (StatementRefused, SchemaError):
            raise
        except DatabaseUnavailable:  # it is read-only, or did not answer in time
            pool.renew(conn)
            raise
        finally:
            pool.give_back(conn)

    def _refuse_while_schema_fails(self) -> None:
        if (failure := self._schema_failure) and time.monotonic() < self._schema_retry_at:
            # A new one each time: an exception that is raised again keeps the frames of every time.
            raise SchemaError(str(failure), sentence=failure.sentence) from failure.__cause__

    def _bring_schema(self, conn: Connection) -> None:
        """Apply the schema: the database was away when the service started, or was emptied since."""
        try:
            schema.apply(conn, self._hosts.connect)
        except SchemaError as exc:
            self._remember(exc)
            raise
        self._schema_ready = True

    def _remember(self, exc: SchemaError) -> None:
        self._schema_failure = exc
        self._schema_retry_at = time.monotonic() + SCHEMA_RETRY_SECONDS


def require_writable(cur: Cursor) -> None:
    """Raise ReadOnly if the database takes no changes, as a standby does not."""
    cur.execute("SELECT current_setting('transaction_read_only') = 'off'")
    if cur.fetchone() != (True,):
        raise ReadOnly("the database is read-only")
