"""The notices that wait in the outbox, past the service."""

from typing import Any

from tests.support.database import Sql


def notices(sql: Sql) -> list[tuple[Any, ...]]:
    """Return kind, user and recipient of each mail in the outbox, the oldest first."""
    return sql("SELECT kind, user_id, recipient FROM auth_outbox ORDER BY id")


def details(sql: Sql) -> list[dict[str, str]]:
    """Return what each mail in the outbox tells, the oldest first."""
    return [row[0] for row in sql("SELECT details FROM auth_outbox ORDER BY id")]
