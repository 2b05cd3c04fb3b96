"""Who calls, and the SQL by which every guarded statement finds out whether they still may.

It is part of the statement that the route runs anyway, so a session that is over is noticed at once, on
every worker, without a round trip of its own.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

# A condition on a row of users: it is the caller's, and the session is not over. A token without a session
# was issued by an earlier version and stays valid until it expires. A session that began after the token was
# issued is another one: a database that was emptied or restored gives the same numbers again.
IS_PRINCIPAL = """
    users.id = %(user_id)s
    AND (%(session_id)s::BIGINT IS NULL OR EXISTS (
        SELECT FROM auth_sessions
        WHERE auth_sessions.id = %(session_id)s
          AND auth_sessions.user_id = %(user_id)s
          AND auth_sessions.valid_until > %(now)s
          AND auth_sessions.created_at <= %(issued_by)s
    ))
"""

# A table `caller` with the user's id, empty when the user is gone or the session is over.
PRINCIPAL = f"""
    caller AS (
        SELECT users.id
        FROM users
        WHERE {IS_PRINCIPAL}
    )
"""


@dataclass(frozen=True)
class Principal:
    """The user and session that a valid access token names.

    now: the time of the request. issued_by: when the token was issued at the latest. Both are aware.
    """

    user_id: int
    session_id: int | None
    now: datetime
    issued_by: datetime

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of IS_PRINCIPAL and PRINCIPAL."""
        return dict(vars(self))
