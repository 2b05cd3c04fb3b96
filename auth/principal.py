"""Who sent a request, and the SQL that checks the user and the session in the same statement.

The check needs no round trip of its own. A session that was revoked is refused at the next request, on every
worker.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from auth.errors import ApiError
from db import Cursor

# A condition on a row of users: it is the principal's, and the session has not ended.
# A token without a session was issued by an earlier version and stays valid until it expires. A session that
# began after the token was issued is another session: a database that was emptied or restored gives the same
# ids again.
_IS_PRINCIPAL = """
    users.id = %(user_id)s
    AND (%(session_id)s::BIGINT IS NULL OR EXISTS (
        SELECT FROM auth_sessions
        WHERE auth_sessions.id = %(session_id)s
          AND auth_sessions.user_id = %(user_id)s
          AND auth_sessions.valid_until > %(now)s
          AND auth_sessions.created_at <= %(issued_by)s
    ))
"""
_PRINCIPAL = f"""
    WITH principal AS (
        SELECT users.id
        FROM users
        WHERE {_IS_PRINCIPAL}
    )
"""


@dataclass(frozen=True)
class Principal:
    """The user and the session that a valid access token names.

    session_id: None for a token of a version that had no sessions. now: the time of the request.
    issued_by: the latest moment at which the token can have been issued. Both times are aware.
    """

    user_id: int
    session_id: int | None
    now: datetime
    issued_by: datetime

    def execute(self, cur: Cursor, statement: str, **parameters: Any) -> None:
        """Execute a statement that reads from `principal`, a common table expression.

        `principal` has the user's id, or no row if the user is gone or the session has ended. The fields of
        this class are parameters of the statement, too; no other parameter replaces them. A statement with
        further common table expressions begins with a comma.
        """
        cur.execute(_PRINCIPAL + statement, parameters | vars(self))

    def select(self, cur: Cursor, columns: str) -> None:
        """Execute a statement that returns columns of the user's row, or no row as `execute` says.

        Most requests run this statement. PostgreSQL plans it faster than a join with `principal`.
        """
        cur.execute(f"SELECT {columns} FROM users WHERE {_IS_PRINCIPAL}", vars(self))

    def session_ended(self) -> ApiError:
        """Return the refusal of a principal whose user is gone or whose session has ended."""
        cause = f"session_over user_id={self.user_id} session_id={self.session_id}"
        return ApiError("token_invalid", log_message=cause)
