"""The way to PostgreSQL: statements with deadlines, transactions and the schema.

Only this module opens connections. It knows nothing of HTTP, nor of any table but the one that keeps which
schema.sql was applied.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import psycopg2
from psycopg2.extensions import cursor, make_dsn, parse_dsn, quote_ident

from pool import Connection, ConnectionLost, DatabaseUnavailable, Pool, limit, seconds_left, wait

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA_FILE = Path(__file__).with_name("schema.sql")
VERSION_TABLE = "auth_schema"  # which nothing but the next start needs
SCHEMA_LOCK = 0x55534552  # "USER": the advisory lock that starting processes queue for

OPERATION_SECONDS = 4.0  # waiting, connecting, the statement and its one retry together
STATEMENT_SECONDS = 3.0  # PostgreSQL's own limit, below ours so that the connection survives it
WAITING = 32  # how many threads may wait for a pooled connection
WAIT_SECONDS = 1.0
PING_SECONDS = 2.0
PINGS_WAITING = 8
SCHEMA_SECONDS = 20.0  # at start; building an index on a large table takes a while
SCHEMA_RETRY_SECONDS = 10.0
LOCK_SECONDS = 1.0  # every request for the table waits behind a statement that waits for its lock
LOCK_PAUSE_SECONDS = 4.0

log = logging.getLogger("db")


class SchemaError(DatabaseUnavailable):
    """schema.sql cannot be applied to this database; the message tells the operator why.

    sentence: the same for anybody, without names.
    """

    def __init__(self, message: str, *, sentence: str) -> None:
        super().__init__(message)
        self.sentence = sentence


class Database:
    """PostgreSQL as the rest of the service sees it: statements in, rows or DatabaseUnavailable out."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        # Waiting for PostgreSQL in Python is what makes deadlines possible: libpq's own waits never end
        # when the server is frozen.
        psycopg2.extensions.set_wait_callback(wait)
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
        limit.at = time.monotonic() + OPERATION_SECONDS
        try:
            return self._run(self._pool, query, *args, **kwargs)
        except ConnectionLost:
            return self._run(self._pool, query, *args, **kwargs)

    def write(self, query: Callable[Concatenate[cursor, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `query`, never retried: one statement is one round trip, for more there is `transaction`."""
        limit.at = time.monotonic() + OPERATION_SECONDS
        return self._run(self._pool, query, *args, **kwargs)

    def ping(self, query: Callable[[cursor], T]) -> T:
        """Run `query` on a connection kept for health checks, within PING_SECONDS.

        Raises PoolFull when enough others are asking.
        """
        limit.at = time.monotonic() + PING_SECONDS
        return self._run(self._ping_pool, query)

    def apply_schema(self, *, seconds: float = SCHEMA_SECONDS, again: bool = False) -> None:
        """Create what schema.sql describes and the database lacks.

        Any number of processes may do so at once. again: also when this version of the file was applied
        before, and until nobody holds a lock on the tables. Raises SchemaError or DatabaseUnavailable.
        """
        limit.at = time.monotonic() + seconds
        conn = self._connect()
        try:
            while not _apply_schema(conn, seconds, again=again):
                time.sleep(LOCK_PAUSE_SECONDS)
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


def is_writable(cur: cursor) -> bool:
    """Return whether the database takes changes; a standby does not."""
    cur.execute("SELECT current_setting('transaction_read_only') = 'off'")
    row = cur.fetchone()
    return row is not None and bool(row[0])


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


def _apply_schema(conn: Connection, seconds: float, *, again: bool = False) -> bool:
    """Apply schema.sql unless this version was applied before; `again` applies it in any case.

    A database that lacks nothing but the newest version serves also where that cannot be applied.
    Returns False if it has to be tried again: only where `again` may wait for a lock.
    """
    schema = SCHEMA_FILE.read_text(encoding="utf-8")
    names = re.findall(r"IF NOT EXISTS (\w+)", schema)
    fingerprint = hashlib.sha256(schema.encode()).hexdigest()
    complete = False
    try:
        with conn.cursor() as cur:
            complete = _missing(cur, names) <= {VERSION_TABLE}
            # Asking first spares a restart the locks that CREATE takes, and the right to create.
            if not again and _is_applied(cur, names, fingerprint):
                return True
            with transaction(cur):
                _set(cur, statement_timeout=f"{seconds * 1000:.0f}", client_min_messages="warning")
                cur.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
                if not again and _is_applied(cur, names, fingerprint):
                    return True  # by a process that was faster
                _set(cur, lock_timeout=f"{LOCK_SECONDS * 1000:.0f}")
                cur.execute(schema)
                cur.execute("DELETE FROM auth_schema; INSERT INTO auth_schema VALUES (%s)", (fingerprint,))
    except psycopg2.Error as exc:
        failure = _schema_failure(exc, conn)
        if again and isinstance(exc, psycopg2.errors.LockNotAvailable) and seconds_left() > 0:
            log.warning("schema_waits: %s", failure)
            return False
        if again or not complete or conn.closed:
            raise failure from exc
        log.warning("schema_not_brought_up_to_date: %s; what the database has is served", failure)
        return True
    for notice in conn.notices:
        log.warning("schema_warning: %s", notice.partition(":")[2].strip().splitlines()[0])
    log.info("schema_applied fingerprint=%s", fingerprint)
    return True


def _set(cur: cursor, **parameters: str) -> None:
    """Set parameters of the session until the end of the transaction."""
    for name, value in parameters.items():
        cur.execute("SELECT set_config(%s, %s, true)", (name, value))


def _missing(cur: cursor, names: list[str]) -> set[str]:
    cur.execute("SELECT name FROM unnest(%s) AS name WHERE to_regclass(name) IS NULL", (names,))
    return {name for (name,) in cur.fetchall()}


def _is_applied(cur: cursor, names: list[str], fingerprint: str) -> bool:
    """Return whether this version of schema.sql was applied, and nothing of it removed since."""
    if _missing(cur, names):
        return False
    cur.execute("SELECT EXISTS (SELECT FROM auth_schema WHERE fingerprint = %s)", (fingerprint,))
    row = cur.fetchone()
    return row is not None and bool(row[0])


def _schema_failure(exc: psycopg2.Error, conn: Connection) -> DatabaseUnavailable:
    reason = f"schema.sql cannot be applied: {_first_line(exc)}"
    if isinstance(exc, psycopg2.errors.LockNotAvailable):
        return SchemaError(
            f"{reason}; a transaction holds a table: wait for it, or find it in pg_stat_activity",
            sentence="The schema cannot be applied yet: somebody else uses the tables.",
        )
    if isinstance(exc, psycopg2.OperationalError):
        return DatabaseUnavailable(reason)
    if isinstance(exc, psycopg2.errors.UniqueViolation):
        sentence = "The schema cannot be applied: some users differ only in case; the log has their ids."
        return SchemaError(reason, sentence=sentence)
    if isinstance(exc, psycopg2.errors.InsufficientPrivilege):  # since PostgreSQL 15 only an owner may create
        role = quote_ident(conn.info.user, conn)
        return SchemaError(
            f"{reason}; make the role of DB_URL the owner of the database and its tables (where only the"
            f" right to create is missing, the owner may run: GRANT CREATE ON SCHEMA public TO {role})",
            sentence="The schema cannot be applied: the service lacks a right; the log says which.",
        )
    return SchemaError(reason, sentence="The schema cannot be applied; the log says why.")


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
