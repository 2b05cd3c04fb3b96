"""The only door to PostgreSQL: statements with deadlines, transactions and the schema.

The service takes the cursor's type and the exceptions of PostgreSQL from here, so that no other module needs
to know the driver. This module knows nothing of HTTP, nor of any table.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar

import psycopg2
from psycopg2 import DataError, IntegrityError
from psycopg2.errors import (
    CharacterNotInRepertoire,
    CheckViolation,
    NotNullViolation,
    StringDataRightTruncation,
    UniqueViolation,
    UntranslatableCharacter,
)
from psycopg2.extensions import cursor

from runtime import deadline, schema, schema_errors, schema_version
from runtime.connection import transaction, wait
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
from runtime.hosts import Hosts, leaves_encryption_open
from runtime.pool import Pool, PoolExhausted, PoolFull
from runtime.schema_errors import SchemaError
from runtime.schema_state import SchemaState

__all__ = [
    "CharacterNotInRepertoire",
    "CheckViolation",
    "ConnectionLost",
    "Cursor",
    "DataError",
    "Database",
    "DatabaseUnavailable",
    "IntegrityError",
    "NotNullViolation",
    "PoolExhausted",
    "PoolFull",
    "ReadOnly",
    "SchemaError",
    "StatementRefused",
    "StringDataRightTruncation",
    "UniqueViolation",
    "UntranslatableCharacter",
    "described",
    "leaves_encryption_open",
    "require_usable",
    "require_writable",
    "transaction",
]

Cursor: TypeAlias = cursor
P = ParamSpec("P")
T = TypeVar("T")

SCHEMA_FILE = Path(__file__).with_name("schema.sql")

OPERATION_SECONDS = 4.0  # all together: waiting for the pool, connecting, the statement, its one retry
PING_SECONDS = 2.0
MAX_POOL_WAITERS = 32  # threads that may wait for a pooled connection
WAIT_SECONDS = 1.0
SCHEMA_SECONDS = 20.0  # at start; an index on a large table takes a while


class Database:
    """PostgreSQL as the rest of the service sees it: statements in, rows or DatabaseUnavailable out."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        # Python waits for PostgreSQL instead of libpq, which makes deadlines possible: libpq waits for a
        # frozen server for ever.
        psycopg2.extensions.set_wait_callback(wait)
        _read_version()  # without a readable schema.sql fail here, where the trial of a SIGHUP sees it
        connect = Hosts(url, statement_seconds=STATEMENT_SECONDS).connect
        self._schema = SchemaState(connect, _read_version)
        self._pool = Pool(connect, size=pool_size, max_waiters=MAX_POOL_WAITERS, wait_seconds=WAIT_SECONDS)
        # Health checks have a connection of their own, so that a busy pool does not look like a database
        # that is down. Nobody waits for the connection, because one check runs at a time.
        self._ping_pool = Pool(connect, size=1, max_waiters=0, wait_seconds=0.0)

    def read(self, query: Callable[Concatenate[Cursor, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an idempotent `query`; run it once more if a fresh connection may do better."""
        deadline.start(OPERATION_SECONDS)
        return self._run_twice(self._pool, (ServerFault, Conflict), None, query, *args, **kwargs)

    def write(self, query: Callable[Concatenate[Cursor, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `query`. One statement is one round trip; a query of several uses `transaction`.

        The query runs once more only if it certainly changed nothing: after a lost connection nobody knows
        whether the statement was carried out. PostgreSQL carries out nothing after the deadline.
        """
        deadline.start(OPERATION_SECONDS)
        return self._run_twice(
            self._pool, (ReadOnly, OutOfResources, Conflict), DeadlineCursor, query, *args, **kwargs
        )

    def ping(self, query: Callable[[Cursor], T]) -> T:
        """Run `query` like `read`, on the connection for health checks and within PING_SECONDS."""
        deadline.start(PING_SECONDS)
        return self._run_twice(self._ping_pool, (ServerFault, Conflict), None, query)

    def apply_schema(self, *, seconds: float = SCHEMA_SECONDS, again: bool = False) -> None:
        """Create what schema.sql describes and the database lacks. Any number of processes may do so at once.

        again: apply this version of the file even if it was applied before, and wait while somebody holds
        a lock on a table. Raises SchemaError or DatabaseUnavailable.
        """
        self._schema.apply_at_start(seconds=seconds, again=again)

    def close(self) -> None:
        """Close every idle connection."""
        self._pool.close()
        self._ping_pool.close()

    def _run_twice(
        self,
        pool: Pool,
        failures: tuple[type[DatabaseUnavailable], ...],
        cursor_class: type[Cursor] | None,
        query: Callable[Concatenate[Cursor, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `query`, and once more if it fails by one of `failures`."""
        try:
            return self._run(pool, cursor_class, query, *args, **kwargs)
        except failures:
            return self._run(pool, cursor_class, query, *args, **kwargs)

    def _run(
        self,
        pool: Pool,
        cursor_class: type[Cursor] | None,
        query: Callable[Concatenate[Cursor, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if not self._schema.is_ready:
            self._schema.refuse_while_failing()
        conn = pool.take()
        try:
            if not self._schema.is_ready:
                self._schema.apply_late(conn)
            with conn.cursor(cursor_factory=cursor_class) as cur:
                return query(cur, *args, **kwargs)
        except psycopg2.Error as exc:
            if lost_table := schema_errors.lost_table(exc, _read_version()):
                self._schema.is_ready = False
                raise lost_table from exc
            failure = translate(exc, closed=bool(conn.closed))
            if failure is None:
                raise
            if isinstance(failure, ServerFault):
                pool.renew(conn)
            raise failure from exc
        except (StatementRefused, SchemaError):
            raise
        except DatabaseUnavailable:  # the server is read-only, or did not answer in time
            pool.renew(conn)
            raise
        finally:
            pool.give_back(conn)


def require_writable(cur: Cursor) -> None:
    """Raise ReadOnly if the database accepts no changes, for example because it is a standby."""
    cur.execute("SELECT current_setting('transaction_read_only') = 'off'")
    if cur.fetchone() != (True,):
        raise ReadOnly("the database is read-only")


def require_usable(cur: Cursor) -> None:
    """Read every table and column of schema.sql. Raises SchemaError if the role lacks a right."""
    schema.require_usable(cur, _read_version())


def _read_version() -> schema_version.Version:
    return schema_version.read(SCHEMA_FILE)
