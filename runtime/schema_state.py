"""Whether the database has the schema, and since when applying it fails."""

import time
from collections.abc import Callable

from runtime import deadline, schema
from runtime.connection import Connection
from runtime.schema_errors import SchemaError
from runtime.schema_version import Version

SCHEMA_RETRY_SECONDS = 10.0


class SchemaState:
    """The schema of one database. is_ready: nobody has to apply it.

    connect: opens a connection. read_version: returns the version of schema.sql that the database must have.
    """

    def __init__(self, connect: Callable[[], Connection], read_version: Callable[[], Version]) -> None:
        self._connect = connect
        self._read_version = read_version
        self._failure: SchemaError | None = None
        self._retry_at = 0.0
        self.is_ready = False

    def apply_at_start(self, *, seconds: float, again: bool) -> None:
        """Apply the schema within `seconds`, on connections of its own; see Database.apply_schema."""
        deadline.start(seconds)
        conn = self._connect()
        try:
            self._apply(conn, again=again)
        finally:
            conn.close()

    def apply_late(self, conn: Connection) -> None:
        """Apply the schema before a request: the database was away at start, or was emptied since."""
        self._apply(conn, again=False)

    def refuse_while_failing(self) -> None:
        """Raise the last SchemaError again, unless SCHEMA_RETRY_SECONDS have passed since."""
        if (failure := self._failure) and time.monotonic() < self._retry_at:
            # A new exception each time: one that is raised again collects the frames of every time.
            raise SchemaError(str(failure), sentence=failure.sentence) from failure.__cause__

    def _apply(self, conn: Connection, *, again: bool) -> None:
        try:
            while not schema.apply(conn, self._connect, self._read_version(), again=again):
                time.sleep(schema.LOCK_PAUSE_SECONDS)
        except SchemaError as exc:
            self._failure = exc
            self._retry_at = time.monotonic() + SCHEMA_RETRY_SECONDS
            raise
        self.is_ready = True
