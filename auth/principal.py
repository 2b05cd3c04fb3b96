"""Who sent a request, and the SQL that checks the user and the session in the same statement.

The check needs no round trip of its own. A session that was revoked is refused at the next request, on every
worker.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from auth.errors import ApiError
from db import Cursor

# A condition on a row of users: it is the principal's, and the session is not over.
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
        SELECT users.*
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

        `principal` is the user's row, or no row if the user is gone or the session is over. The fields of
        this class are parameters of the statement, too. A statement with further common table expressions
        begins with a comma.
        """
        cur.execute(_PRINCIPAL + statement, vars(self) | parameters)

    def select(self, cur: Cursor, columns: str) -> None:
        """Execute `SELECT columns FROM principal` in a form that takes PostgreSQL 25 microseconds less.

        Most requests run this statement.
        """
        cur.execute(f"SELECT {columns} FROM users WHERE {_IS_PRINCIPAL}", vars(self))

    def session_over(self) -> ApiError:
        """Return the refusal of a principal whose user is gone or whose session is over."""
        cause = f"session_over user_id={self.user_id} session_id={self.session_id}"
        return ApiError("token_invalid", log_message=cause)
