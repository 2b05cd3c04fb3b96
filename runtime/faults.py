"""What a failure of PostgreSQL speaks of: the statement, its moment, two at once, or the server.

Only the last says that another connection may do better.
"""

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


# By SQLSTATE, whose first two characters are its class (PostgreSQL's appendix A).
_CODES: dict[str, type[DatabaseUnavailable]] = {"40001": Conflict, "40P01": Conflict, "25006": ReadOnly}
_CLASSES: dict[str, type[DatabaseUnavailable]] = {
    "0A": StatementRefused,  # what PostgreSQL does not do
    "22": StatementRefused,  # data
    "23": StatementRefused,  # constraints
    "42": StatementRefused,  # a name, a right, the syntax
    "P0": StatementRefused,  # what a trigger raises
    "08": ServerFault,  # the connection; also what PgBouncer says of itself
    "53": OutOfResources,
    "58": OutOfResources,  # the system
}


def translated(exc: psycopg2.Error, *, closed: bool) -> DatabaseUnavailable | None:
    """Return what the service raises for a failed statement, None if the driver complains of its use.

    closed: whether the error ended the connection.
    """
    kind = ConnectionLost if closed else _kind(exc)
    if kind is None:
        return None
    return kind(described(exc) if kind is StatementRefused else one_line(exc))


def _kind(exc: psycopg2.Error) -> type[DatabaseUnavailable] | None:
    code = exc.pgcode
    if code is None:  # the driver's own complaint
        return ServerFault if isinstance(exc, psycopg2.OperationalError) else None
    if code.startswith("57P"):  # a server that shuts down or crashed
        return ServerFault
    # All else speaks of the moment: its time, its locks.
    return _CODES.get(code) or _CLASSES.get(code[:2], DatabaseUnavailable)


def described(exc: psycopg2.Error, **more: str) -> str:
    """Return what leads an operator to the cause: the SQLSTATE and what PostgreSQL names, no values."""
    named = {
        "sqlstate": exc.pgcode,
        "table": exc.diag.table_name,
        "column": exc.diag.column_name,
        "constraint": exc.diag.constraint_name,
    } | more
    return f"{' '.join(f'{name}={value}' for name, value in named.items() if value)}: {one_line(exc)}"


def one_line(exc: psycopg2.Error) -> str:
    """Return what may be logged of a driver's error, as one line.

    The server's further fields quote rows. What has no such field comes from a connection that failed,
    and says so of each address that was tried.
    """
    told = exc.diag.message_primary or str(exc)
    return " ".join(told.split()) or type(exc).__name__
