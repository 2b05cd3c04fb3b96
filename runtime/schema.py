"""How a database gets the newest version of schema.sql."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2.extensions import cursor, quote_ident

from runtime.connection import Connection, transaction
from runtime.deadline import seconds_left
from runtime.faults import DatabaseUnavailable, one_line
from runtime.schema_version import Version, are_dispensable, read

SCHEMA_FILE = Path(__file__).parents[1] / "schema.sql"
SCHEMA_LOCK = 0x55534552  # "USER": the advisory lock that starting processes wait for
LOCK_SECONDS = 1.0  # every request for the table waits behind a statement that waits for its lock
LOCK_PAUSE_SECONDS = 4.0
TURN_PAUSE_SECONDS = 0.05

log = logging.getLogger("db")


class SchemaError(DatabaseUnavailable):
    """The database has not what schema.sql describes; the message tells the operator why.

    sentence: the same for anybody, without names.
    """

    def __init__(self, message: str, *, sentence: str) -> None:
        super().__init__(message)
        self.sentence = sentence


def apply(conn: Connection, connect: Callable[[], Connection], *, again: bool = False) -> bool:
    """Apply schema.sql unless this version was applied before; `again` applies it in any case.

    connect: opens another connection, which does the work. A database that lacks nothing but the newest
    version serves also where that cannot be applied. Returns False if it has to be tried again: only where
    `again` may wait for a lock. Raises SchemaError or DatabaseUnavailable.
    """
    version = read(SCHEMA_FILE)
    complete = False
    try:
        with conn.cursor() as cur:
            missing = version.missing(cur)
            complete = are_dispensable(missing)
            # Asking first spares a restart the locks that CREATE takes, and the right to create.
            if again or missing or not version.is_recorded(cur):
                _apply_in_turn(cur, connect, version, again=again)
            if differences := version.differences(cur):
                log.warning("schema_differs: users: %s", "; ".join(differences))
        return True
    except (psycopg2.Error, DatabaseUnavailable) as exc:
        failure = exc if isinstance(exc, DatabaseUnavailable) else _schema_failure(exc, conn)
        patient = again and seconds_left() > LOCK_PAUSE_SECONDS + 2 * LOCK_SECONDS
        if patient and isinstance(exc, psycopg2.errors.LockNotAvailable):
            log.warning("schema_waits: %s", failure)
            return False
        if again or not complete or conn.closed:
            if failure is exc:
                raise
            raise failure from exc
        log.warning("schema_not_brought_up_to_date: %s; what the database has is served", failure)
        return True


def require_usable(cur: cursor) -> None:
    """Touch the tables and every column of theirs. Raises SchemaError if the role lacks a right."""
    if missing := read(SCHEMA_FILE).missing_rights(cur):
        raise SchemaError(
            f"the role of DB_URL lacks rights: {', '.join(missing)}",
            sentence="The database does not let the service use its tables.",
        )


def lost_table(exc: psycopg2.Error) -> SchemaError | None:
    """Return what to say if somebody removed a table of ours under the running service, else None."""
    if not isinstance(exc, psycopg2.errors.UndefinedTable) or not read(SCHEMA_FILE).names_a_table(str(exc)):
        return None
    return SchemaError(
        f"{one_line(exc)}; the next request applies schema.sql again",
        sentence="A table of the service is gone; it is being made again.",
    )


def _apply_in_turn(cur: cursor, connect: Callable[[], Connection], version: Version, *, again: bool) -> None:
    """Apply schema.sql when nobody else does, unless another process was faster.

    The lock belongs to a transaction of `cur` in which nothing else happens: a pooler keeps that on one
    connection, and no index waits for it, because it has no snapshot.
    """
    reserve = seconds_left() / 5  # for the work itself
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
        if seconds_left() < reserve:
            raise SchemaError(
                "another process applies schema.sql and is not ready yet",
                sentence="The schema is being applied.",
            )
        time.sleep(TURN_PAUSE_SECONDS)  # outside of a transaction: an index waits for those that it meets


def _apply(conn: Connection, version: Version) -> None:
    with conn.cursor(cursor_factory=cursor) as cur:  # behind a pooler the usual one makes transactions
        _set(cur, client_min_messages="warning", lock_timeout=f"{LOCK_SECONDS * 1000:.0f}")
        _limit_statements(cur)
        with transaction(cur):
            cur.execute(version.tables)
            if lacking := version.missing_columns(cur):
                raise _foreign_table(lacking)
        _set(cur, lock_timeout="0")  # nobody waits for who waits to build an index
        try:
            for statement in version.indexes.values():
                _limit_statements(cur)
                cur.execute(statement)
        except psycopg2.errors.UniqueViolation as exc:
            raise _clash(cur, exc) from exc
        with transaction(cur):
            cur.execute("DELETE FROM auth_schema")
            cur.execute("INSERT INTO auth_schema VALUES (%s)", (version.fingerprint,))
    for notice in conn.notices:
        log.warning("schema_warning: %s", notice.partition(":")[2].strip().splitlines()[0])
    log.info("schema_applied fingerprint=%s", version.fingerprint)


def _limit_statements(cur: cursor) -> None:
    """Let PostgreSQL end a statement a little before we would, so that the connection survives it."""
    _set(cur, statement_timeout=f"{seconds_left() * 800 + 1:.0f}")


def _set(cur: cursor, **parameters: str) -> None:
    """Set parameters of the session."""
    for name, value in parameters.items():
        cur.execute("SELECT set_config(%s, %s, false)", (name, value))


def _foreign_table(lacking: set[str]) -> SchemaError:
    return SchemaError(
        f"schema.sql cannot be applied: the database lacks {', '.join(sorted(lacking))}; if the table is"
        " somebody else's, rename it or use another database, else add the columns that schema.sql describes",
        sentence="The schema cannot be applied: a table lacks columns; the log names them.",
    )


def _clash(cur: cursor, exc: psycopg2.Error) -> SchemaError:
    """Return an error with the ids of the users that differ only in case: the index's own names none."""
    cur.execute(
        """
        SELECT 'the usernames of users ' || string_agg(id::text, ', ' ORDER BY id)
        FROM users
        GROUP BY lower(username COLLATE "C")
        HAVING count(*) > 1
        UNION ALL
        SELECT 'the emails of users ' || string_agg(id::text, ', ' ORDER BY id)
        FROM users
        GROUP BY lower(email COLLATE "C")
        HAVING count(*) > 1
        LIMIT 20
        """
    )
    clashes = "; ".join(clash for (clash,) in cur.fetchall()) or one_line(exc)
    return SchemaError(
        f"schema.sql cannot be applied: these differ only in case, change all but one: {clashes}",
        sentence="The schema cannot be applied: some users differ only in case; the log has their ids.",
    )


def _schema_failure(exc: psycopg2.Error, conn: Connection) -> DatabaseUnavailable:
    reason = f"schema.sql cannot be applied: {one_line(exc)}"
    if isinstance(exc, psycopg2.errors.LockNotAvailable):
        return SchemaError(
            f"{reason}; a transaction holds a table: wait for it, or find it in pg_stat_activity",
            sentence="The schema cannot be applied yet: somebody else uses the tables.",
        )
    if isinstance(exc, psycopg2.errors.QueryCanceled):
        return SchemaError(
            f"{reason}; run `flask --app app init-db`, which takes its time, or find the transaction that it"
            " waits for in pg_stat_activity",
            sentence="The schema cannot be applied yet: it takes longer than a start may.",
        )
    if isinstance(exc, psycopg2.OperationalError):
        return DatabaseUnavailable(reason)
    if isinstance(exc, psycopg2.errors.InsufficientPrivilege):  # since PostgreSQL 15 only an owner may create
        role = quote_ident(conn.info.user, conn)
        return SchemaError(
            f"{reason}; make the role of DB_URL the owner of the database and its tables (where only the"
            f" right to create is missing, the owner may run: GRANT CREATE ON SCHEMA public TO {role})",
            sentence="The schema cannot be applied: the service lacks a right; the log says which.",
        )
    return SchemaError(reason, sentence="The schema cannot be applied; the log says why.")
