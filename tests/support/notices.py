"""The notices that wait in the outbox, past the service. A mail with a link is no notice."""

from typing import Any

from tests.support.database import Sql

_NOTICES = "FROM auth_outbox WHERE kind NOT IN ('verify_email', 'reset_password') ORDER BY id"


def notices(sql: Sql) -> list[tuple[Any, ...]]:
    """Return kind, user and recipient of each notice, the oldest first."""
    return sql(f"SELECT kind, user_id, recipient {_NOTICES}")


def details(sql: Sql) -> list[dict[str, str]]:
    """Return what each notice tells, the oldest first."""
    return [row[0] for row in sql(f"SELECT details {_NOTICES}")]
