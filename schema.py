"""Which version of schema.sql a database has, and how it gets the newest one."""

import hashlib
import logging
import re
from pathlib import Path

import psycopg2
from psycopg2.extensions import cursor, quote_ident

from pool import Connection, DatabaseUnavailable, first_line, seconds_left, transaction

SCHEMA_FILE = Path(__file__).with_name("schema.sql")
VERSION_TABLE = "auth_schema"  # which nothing but the next start needs
END_OF_TRANSACTION = "-- End of transaction.\n"
SCHEMA_LOCK = 0x55534552  # "USER": the advisory lock that starting processes queue for
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


def apply(conn: Connection, seconds: float, *, again: bool = False) -> bool:
    """Apply schema.sql unless this version was applied before; `again` applies it in any case.

    A database that lacks nothing but the newest version serves also where that cannot be applied.
    Returns False if it has to be tried again: only where `again` may wait for a lock. Raises SchemaError
    or DatabaseUnavailable.
    """
    version = _Version(SCHEMA_FILE.read_text(encoding="utf-8"))
    complete = False
    try:
        with conn.cursor() as cur:
            complete = version.missing(cur) <= {VERSION_TABLE}
            # Asking first spares a restart the locks that CREATE takes, and the right to create.
            if not again and version.is_applied(cur):
                return True
            del conn.notices[:]
            if not _apply_parts(cur, version, seconds, again=again):
                return True
    except psycopg2.Error as exc:
        failure = _schema_failure(exc, conn)
        patient = again and seconds_left() > LOCK_PAUSE_SECONDS + 2 * LOCK_SECONDS
        if patient and isinstance(exc, psycopg2.errors.LockNotAvailable):
            log.warning("schema_waits: %s", failure)
            return False
        if again or not complete or conn.closed:
            raise failure from exc
        log.warning("schema_not_brought_up_to_date: %s; what the database has is served", failure)
        return True
    for notice in conn.notices:
        log.warning("schema_warning: %s", notice.partition(":")[2].strip().splitlines()[0])
    log.info("schema_applied fingerprint=%s", version.fingerprint)
    return True


def _apply_parts(cur: cursor, version: "_Version", seconds: float, *, again: bool) -> bool:
    """Apply the parts of schema.sql; return False if another process was faster.

    A transaction for each part, so that the locks of one end before the next, which may take long.
    """
    parts = version.schema.split(END_OF_TRANSACTION)
    for part in parts:
        with transaction(cur):
            _set(cur, statement_timeout=f"{seconds * 1000:.0f}", client_min_messages="warning")
            cur.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            if not again and version.is_applied(cur):
                return False
            _set(cur, lock_timeout=f"{LOCK_SECONDS * 1000:.0f}")
            cur.execute(part)
            if part is parts[-1]:
                cur.execute("DELETE FROM auth_schema")
                cur.execute("INSERT INTO auth_schema VALUES (%s)", (version.fingerprint,))
    return True


class _Version:
    """A version of schema.sql, and whether a database has it."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.fingerprint = hashlib.sha256(schema.encode()).hexdigest()
        self._names = re.findall(r"IF NOT EXISTS (\w+)", schema)

    def missing(self, cur: cursor) -> set[str]:
        """Return the tables and indexes that the database lacks."""
        cur.execute("SELECT name FROM unnest(%s) AS name WHERE to_regclass(name) IS NULL", (self._names,))
        return {name for (name,) in cur.fetchall()}

    def is_applied(self, cur: cursor) -> bool:
        """Return whether this version was applied, and nothing of it removed since."""
        if self.missing(cur):
            return False
        cur.execute("SELECT EXISTS (SELECT FROM auth_schema WHERE fingerprint = %s)", (self.fingerprint,))
        row = cur.fetchone()
        return row is not None and bool(row[0])


def _set(cur: cursor, **parameters: str) -> None:
    """Set parameters of the session until the end of the transaction."""
    for name, value in parameters.items():
        cur.execute("SELECT set_config(%s, %s, true)", (name, value))


def _schema_failure(exc: psycopg2.Error, conn: Connection) -> DatabaseUnavailable:
    reason = f"schema.sql cannot be applied: {first_line(exc)}"
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
