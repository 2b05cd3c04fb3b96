"""Writes that PostgreSQL carries out before their deadline or not at all.

A server that was frozen carries out what it had received when it wakes; one that waits for a lock does so
when it gets it. The caller was told that nothing came of it, and may have tried again.
"""

import time
from typing import Any, cast

from psycopg2.errors import InvalidParameterValue
from psycopg2.extensions import TRANSACTION_STATUS_INERROR, cursor

from runtime.connection import Connection, limit
from runtime.faults import DatabaseUnavailable

STATEMENT_SECONDS = 3.0  # PostgreSQL's own limit, below ours so that the connection survives it

# It goes before every statement, in the same message: there is no round trip of its own. The statement gets
# the milliseconds that are left; a negative number is an error. 0 would mean no limit.
_GUARD = """
    SELECT set_config(
        'statement_timeout',
        COALESCE(NULLIF(LEAST(%s, %s - 1000 * EXTRACT(EPOCH FROM clock_timestamp()))::BIGINT, 0), -1)::TEXT,
        true
    );
"""


class DeadlineCursor(cursor):
    """A cursor of a Connection that holds PostgreSQL to the thread's deadline, by PostgreSQL's clock."""

    def execute(self, query: Any, vars: Any = None) -> None:
        """Execute a statement. Raises DatabaseUnavailable if PostgreSQL received it too late."""
        if self.connection.get_transaction_status() == TRANSACTION_STATUS_INERROR:
            super().execute(query, vars)  # a ROLLBACK, nothing else goes
            return
        conn, statement = cast(Connection, self.connection), self.mogrify(query, vars)
        if conn.clock_offset is not None and self._runs(statement, conn.clock_offset):
            return
        # A clock that was set since looks like a late statement. A caller who has gone comes no further.
        conn.clock_offset = self._learn_clock_offset()
        if not self._runs(statement, conn.clock_offset):
            raise DatabaseUnavailable("PostgreSQL began too late")

    def _runs(self, statement: bytes, clock_offset: float) -> bool:
        """Execute a statement; return False, with nothing done, if PostgreSQL received it too late."""
        deadline = limit.at + clock_offset
        conn = cast(Connection, self.connection)
        guard = conn.settings_before().encode() + self.mogrify(
            _GUARD, (STATEMENT_SECONDS * 1000, deadline * 1000)
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
        """Return what PostgreSQL's clock shows more than time.monotonic(); less, if it is slow to tell."""
        super().execute("SELECT EXTRACT(EPOCH FROM clock_timestamp())::FLOAT8")
        [seconds] = self.fetchone() or [0.0]
        return float(seconds) - time.monotonic()
