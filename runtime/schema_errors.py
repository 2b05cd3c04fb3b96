"""Why schema.sql cannot be applied, and what the operator can do about it."""

import psycopg2
from psycopg2.extensions import cursor, quote_ident

from runtime.connection import Connection
from runtime.faults import DatabaseUnavailable, one_line
from runtime.schema_version import Version


class SchemaError(DatabaseUnavailable):
    """The database lacks what schema.sql describes. The message tells the operator why.

    sentence: the same for everybody, without names of tables, columns or roles.
    """

    def __init__(self, message: str, *, sentence: str) -> None:
        super().__init__(message)
        self.sentence = sentence


def busy() -> SchemaError:
    """Return the error of a process that has waited for another one to apply the file."""
    return SchemaError(
        "another process applies schema.sql and is not ready yet", sentence="The schema is being applied."
    )


def foreign_table(missing_columns: set[str]) -> SchemaError:
    """Return the error for a table that exists without columns which the service uses."""
    return SchemaError(
        f"schema.sql cannot be applied: the database lacks {', '.join(sorted(missing_columns))}; if the"
        " table is somebody else's, rename it or use another database, else add the columns that schema.sql"
        " describes",
        sentence="The schema cannot be applied: a table lacks columns; the log names them.",
    )


def case_clash(cur: cursor, exc: psycopg2.Error, version: Version) -> SchemaError:
    """Return the error for rows that differ only in case; it has their ids."""
    clashes = "; ".join(version.case_clashes(cur)) or one_line(exc)
    tables = " or ".join(dict.fromkeys(table for table, _ in version.caseless)) or "rows"
    return SchemaError(
        f"schema.sql cannot be applied: these differ only in case, change all but one: {clashes}",
        sentence=f"The schema cannot be applied: some {tables} differ only in case; the log has their ids.",
    )


def missing_rights(rights: list[str]) -> SchemaError:
    """Return the error for a role that may not use the tables."""
    return SchemaError(
        f"the role of DB_URL lacks rights: {', '.join(rights)}",
        sentence="The database does not let the service use its tables.",
    )


def lost_table(exc: psycopg2.Error, version: Version) -> SchemaError | None:
    """Return the error for a table of the service that somebody removed while the service ran.

    Returns None if `exc` has another cause.
    """
    if not isinstance(exc, psycopg2.errors.UndefinedTable) or not version.names_a_table(str(exc)):
        return None
    return SchemaError(
        f"{one_line(exc)}; the next request applies schema.sql again",
        sentence="A table of the service is gone; it is being made again.",
    )


def not_applied(exc: psycopg2.Error, conn: Connection) -> DatabaseUnavailable:
    """Return the error for a statement of schema.sql that failed by `exc`, with what helps."""
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
