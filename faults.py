"""What a failure of PostgreSQL speaks of: the statement, its moment, two at once, or the server.

Only the last says that another connection may do better.
"""

from enum import Enum, auto

import psycopg2


class DatabaseUnavailable(Exception):
    """PostgreSQL cannot be reached, refused, or did not answer in time."""


class ServerFault(DatabaseUnavailable):
    """The server or the way to it failed, not the statement; a fresh connection may work."""


class ConnectionLost(ServerFault):
    """The connection broke under a statement, which was perhaps carried out."""


class ReadOnly(ServerFault):
    """The server takes no changes, a standby for example. Nothing was changed."""


class OutOfResources(ServerFault):
    """The server lacked memory, disk or a place. Nothing was changed."""


class Conflict(DatabaseUnavailable):
    """Two transactions were in each other's way and this one was rolled back; again, it may work."""


class StatementRefused(DatabaseUnavailable):
    """PostgreSQL works and refuses the statement or a value of it; another try does not help."""


class Subject(Enum):
    """Whom an error speaks of."""

    DRIVER = auto()  # how it is used
    STATEMENT = auto()  # and its values
    MOMENT = auto()  # its time, its locks
    CONFLICT = auto()
    SERVER = auto()


READ_ONLY = "25006"
# By SQLSTATE, whose first two characters are its class (PostgreSQL's appendix A).
_CODES = {"40001": Subject.CONFLICT, "40P01": Subject.CONFLICT, READ_ONLY: Subject.SERVER}
_CLASSES = {
    "0A": Subject.STATEMENT,  # what PostgreSQL does not do
    "22": Subject.STATEMENT,  # data
    "23": Subject.STATEMENT,  # constraints
    "42": Subject.STATEMENT,  # a name, a right, the syntax
    "P0": Subject.STATEMENT,  # what a trigger raises
    "08": Subject.SERVER,  # the connection; also what PgBouncer says of itself
    "53": Subject.SERVER,  # no memory, disk or place
    "58": Subject.SERVER,  # the system
}


def subject(exc: psycopg2.Error, *, closed: bool) -> Subject:
    """Return whom a failed statement's error speaks of. closed: whether that ended the connection."""
    code = exc.pgcode
    if closed or (code or "").startswith("57P"):  # a server that shuts down or crashed
        return Subject.SERVER
    if code is None:  # the driver's own complaint
        return Subject.SERVER if isinstance(exc, psycopg2.OperationalError) else Subject.DRIVER
    return _CODES.get(code) or _CLASSES.get(code[:2], Subject.MOMENT)


def translated(exc: psycopg2.Error, *, closed: bool) -> DatabaseUnavailable | None:
    """Return what the service raises for an error of the driver's, None if that speaks of its use."""
    reason = first_line(exc)
    match subject(exc, closed=closed):
        case Subject.DRIVER:
            return None
        case Subject.STATEMENT:
            return StatementRefused(described(exc))
        case Subject.MOMENT:
            return DatabaseUnavailable(reason)
        case Subject.CONFLICT:
            return Conflict(reason)
        case Subject.SERVER if closed:
            return ConnectionLost(reason)
        case Subject.SERVER:
            return _server_fault(exc.pgcode or "", reason)


def _server_fault(code: str, reason: str) -> ServerFault:
    if code == READ_ONLY:
        return ReadOnly(reason)
    return OutOfResources(reason) if code.startswith(("53", "58")) else ServerFault(reason)


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
