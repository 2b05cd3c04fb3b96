"""Applying a version of schema.sql to a database, by one of many processes that start at once."""

import logging
import time
from collections.abc import Callable
from contextlib import closing

import psycopg2
from psycopg2.extensions import cursor

from runtime import deadline, schema_errors
from runtime.connection import Connection, transaction
from runtime.faults import DatabaseUnavailable
from runtime.schema_version import Version, are_dispensable

SCHEMA_LOCK = 0x55534552  # "USER": the advisory lock that starting processes wait for
# While a statement waits for its lock on a table, every later request for the table waits behind it.
LOCK_SECONDS = 1.0
LOCK_PAUSE_SECONDS = 4.0
TURN_PAUSE_SECONDS = 0.05

log = logging.getLogger("db")


def apply(conn: Connection, connect: Callable[[], Connection], version: Version, *, again: bool) -> bool:
    """Apply `version` unless it was applied before; `again` applies it in any case.

    connect: opens another connection, which does the work.
    A database that lacks only the record of the version is served even if the version cannot be applied.
    Returns False if the caller has to try again, which only happens with `again`, for a lock on a table.
    Raises SchemaError or DatabaseUnavailable.
    """
    is_complete = False
    try:
        with conn.cursor() as cur:
            missing = version.missing(cur)
            is_complete = are_dispensable(missing)
            # The questions spare a restart the locks that CREATE takes, and the right to create.
            if again or missing or not version.is_recorded(cur):
                _apply_in_turn(cur, connect, version, again=again)
            if differences := version.differences(cur):
                log.warning("schema_differs: %s: %s", version.first_table, "; ".join(differences))
        return True
    except (psycopg2.Error, DatabaseUnavailable) as exc:
        failure = exc if isinstance(exc, DatabaseUnavailable) else schema_errors.not_applied(exc, conn)
        has_time = again and deadline.seconds_left() > LOCK_PAUSE_SECONDS + 2 * LOCK_SECONDS
        if has_time and isinstance(exc, psycopg2.errors.LockNotAvailable):
            log.warning("schema_waits: %s", failure)
            return False
        if again or not is_complete or conn.closed:
            if failure is exc:
                raise
            raise failure from exc
        log.warning("schema_not_brought_up_to_date: %s; what the database has is served", failure)
        return True


def require_usable(cur: cursor, version: Version) -> None:
    """Read every table and column of `version`. Raises SchemaError if the role lacks a right."""
    if rights := version.missing_rights(cur):
        raise schema_errors.missing_rights(rights)


def _apply_in_turn(cur: cursor, connect: Callable[[], Connection], version: Version, *, again: bool) -> None:
    """Apply `version` when no other process does, unless another process was faster.

    The advisory lock belongs to a transaction of `cur` that does nothing else, because a pooler keeps a
    transaction on one connection. The transaction has no snapshot, so CREATE INDEX CONCURRENTLY does not wait
    for it.
    """
    reserved_seconds = deadline.seconds_left() / 5  # for the work itself
    while True:
        with transaction(cur):
            cur.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cur.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cur.execute("SELECT pg_try_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            if cur.fetchone() == (True,):
                if again or not version.is_applied(cur):
                    with closing(connect()) as worker:
                        _apply(worker, version)
                return
        if deadline.seconds_left() < reserved_seconds:
            raise schema_errors.busy()
        # The pause is outside of the transaction: CREATE INDEX CONCURRENTLY waits for open transactions.
        time.sleep(TURN_PAUSE_SECONDS)


def _apply(conn: Connection, version: Version) -> None:
    # The plain cursor: behind a pooler the connection's own makes a transaction of every statement.
    with conn.cursor(cursor_factory=cursor) as cur:
        _set(cur, client_min_messages="warning", lock_timeout=f"{LOCK_SECONDS * 1000:.0f}")
        _limit_statements(cur)
        with transaction(cur):
            cur.execute(version.tables)
            if missing_columns := version.missing_columns(cur):
                raise schema_errors.foreign_table(missing_columns)
        _set(cur, lock_timeout="0")  # a statement that waits to build an index keeps nobody waiting
        try:
            for statement in version.indexes.values():
                _limit_statements(cur)
                cur.execute(statement)
        except psycopg2.errors.UniqueViolation as exc:
            raise schema_errors.case_clash(cur, exc, version) from exc
        with transaction(cur):
            version.record(cur)
    for notice in conn.notices:
        log.warning("schema_warning: %s", notice.partition(":")[2].strip().splitlines()[0])
    log.info("schema_applied fingerprint=%s", version.fingerprint)


def _limit_statements(cur: cursor) -> None:
    """Let PostgreSQL end a statement shortly before the deadline, so that the connection survives."""
    _set(cur, statement_timeout=f"{deadline.seconds_left() * 800 + 1:.0f}")  # 80 %, in milliseconds


def _set(cur: cursor, **parameters: str) -> None:
    """Set parameters of the session."""
    for name, value in parameters.items():
        cur.execute("SELECT set_config(%s, %s, false)", (name, value))
