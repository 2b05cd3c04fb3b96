"""What a failure of PostgreSQL is about: the statement, the moment, two transactions, or the server.

Only after a failure of the server may another connection do better.
"""

import psycopg2


class DatabaseUnavailable(Exception):
    """PostgreSQL cannot be reached, refused, or did not answer in time."""


class ServerFault(DatabaseUnavailable):
    """The server or the way to it failed, not the statement. A fresh connection may work."""


class ConnectionLost(ServerFault):
    """The connection broke during a statement. Nobody knows whether the statement was carried out."""


class ReadOnly(ServerFault):
    """The server accepts no changes, for example because it is a standby. Nothing was changed."""


class OutOfResources(ServerFault):
    """The server lacked memory, disk space or a free connection. Nothing was changed."""


class Conflict(DatabaseUnavailable):
    """A deadlock or a serialization failure: this transaction was rolled back. Another try may work."""


class StatementRefused(DatabaseUnavailable):
    """PostgreSQL works and refuses the statement or a value in it. Another try does not help."""


# By SQLSTATE, whose first two characters are its class (PostgreSQL's appendix A).
_CODES: dict[str, type[DatabaseUnavailable]] = {"40001": Conflict, "40P01": Conflict, "25006": ReadOnly}
_CLASSES: dict[str, type[DatabaseUnavailable]] = {
    "0A": StatementRefused,  # feature not supported
    "22": StatementRefused,  # data
    "23": StatementRefused,  # constraints
    "42": StatementRefused,  # an unknown name, a missing right, the syntax
    "P0": StatementRefused,  # raised by a trigger
    "08": ServerFault,  # the connection; PgBouncer uses it for its own failures
    "53": OutOfResources,
    "58": OutOfResources,  # the operating system
}


def translate(exc: psycopg2.Error, *, closed: bool) -> DatabaseUnavailable | None:
    """Return the exception that the service raises for a failed statement.

    Returns None if the driver complains about its use, which is a bug of the caller.
    closed: whether the error ended the connection.
    """
    kind = ConnectionLost if closed else _kind(exc)
    if kind is None:
        return None
    return kind(described(exc) if kind is StatementRefused else one_line(exc))


def _kind(exc: psycopg2.Error) -> type[DatabaseUnavailable] | None:
    code = exc.pgcode
    if code is None:  # the driver itself raised it
        return ServerFault if isinstance(exc, psycopg2.OperationalError) else None
    if code.startswith("57P"):  # a server that shuts down or has crashed
        return ServerFault
    # Every other code means that the moment was bad: a timeout, or a lock.
    return _CODES.get(code) or _CLASSES.get(code[:2], DatabaseUnavailable)


def described(exc: psycopg2.Error, **more: str) -> str:
    """Return one line that leads an operator to the cause: the SQLSTATE and names, never values.

    more: further names, such as column="password".
    """
    names = {
        "sqlstate": exc.pgcode,
        "table": exc.diag.table_name,
        "column": exc.diag.column_name,
        "constraint": exc.diag.constraint_name,
    } | more
    return f"{' '.join(f'{key}={name}' for key, name in names.items() if name)}: {one_line(exc)}"


def one_line(exc: psycopg2.Error) -> str:
    """Return the part of a driver's error that may be logged, as one line.

    The server's other fields quote rows. An error without the primary field comes from a failed connection;
    its text has a part for each address that was tried.
    """
    text = exc.diag.message_primary or str(exc)
    return " ".join(text.split()) or type(exc).__name__
