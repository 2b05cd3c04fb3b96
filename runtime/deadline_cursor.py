"""Writes that PostgreSQL carries out before their deadline or not at all.

A frozen server has received statements; when it wakes, it carries them out. A statement that waits for a lock
goes on when it gets the lock. Both may happen after the caller was told that the write failed, and after the
caller has tried again. The guard below prevents such late writes.
"""

import time
from typing import Any, cast

from psycopg2.errors import InvalidParameterValue
from psycopg2.extensions import TRANSACTION_STATUS_INERROR, cursor

from runtime import deadline
from runtime.connection import Connection
from runtime.faults import DatabaseUnavailable

# PostgreSQL's own limit for a statement. It is below the service's, so that PostgreSQL ends the statement and
# the connection survives.
STATEMENT_SECONDS = 3.0

# The guard goes before every statement, in the same message, and costs no round trip. It gives the statement
# the milliseconds that are left. PostgreSQL refuses a negative timeout as an error; 0 would mean no limit. In
# a message of several statements each gets these milliseconds, so that such a message needs a transaction,
# whose COMMIT has a guard of its own.
_GUARD = """
    SELECT set_config(
        'statement_timeout',
        COALESCE(NULLIF(LEAST(%s, %s - 1000 * EXTRACT(EPOCH FROM clock_timestamp()))::BIGINT, 0), -1)::TEXT,
        true
    );
"""


class DeadlineCursor(cursor):
    """A cursor of a Connection that makes PostgreSQL keep the thread's deadline, by its own clock."""

    def execute(self, query: Any, vars: Any = None) -> None:
        """Execute a statement. Raises DatabaseUnavailable if PostgreSQL received it too late."""
        if self.connection.get_transaction_status() == TRANSACTION_STATUS_INERROR:
            super().execute(query, vars)  # PostgreSQL accepts nothing but a ROLLBACK here
            return
        conn, statement = cast(Connection, self.connection), self.mogrify(query, vars)
        if conn.clock_offset is not None and self._runs(statement, conn.clock_offset):
            return
        # Either the statement was late, or somebody has set a clock since the offset was learned. If time
        # really is up, `wait` raises while the offset is learned again.
        conn.clock_offset = self._learn_clock_offset()
        if not self._runs(statement, conn.clock_offset):
            raise DatabaseUnavailable("PostgreSQL began too late")

    def _runs(self, statement: bytes, clock_offset: float) -> bool:
        """Execute a statement. Returns False, with nothing done, if PostgreSQL received it too late."""
        server_deadline = deadline.at() + clock_offset
        conn = cast(Connection, self.connection)
        guard = conn.settings_before().encode() + self.mogrify(
            _GUARD, (STATEMENT_SECONDS * 1000, server_deadline * 1000)
        )
        try:
            super().execute(guard + statement)
        except InvalidParameterValue as exc:
            if "statement_timeout" not in str(exc):
                raise
            if self.connection.get_transaction_status() == TRANSACTION_STATUS_INERROR:
                raise DatabaseUnavailable("PostgreSQL went on too late") from exc
            return False
        return True

    def _learn_clock_offset(self) -> float:
        """Return the server's clock minus time.monotonic(), in seconds.

        A slow answer makes the offset smaller and so the server's deadline earlier, which is safe.
        """
        super().execute("SELECT EXTRACT(EPOCH FROM clock_timestamp())::FLOAT8")
        [server_seconds] = self.fetchone() or [0.0]
        return float(server_seconds) - time.monotonic()
