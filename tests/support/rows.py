"""The rows of users and auth_sessions, read and moved past the service."""

from typing import Any

from tests.support.database import Sql

DAY = 24 * 3600


def stored(sql: Sql) -> list[tuple[Any, ...]]:
    """Return every row of both tables."""
    users = sql("SELECT users::text FROM users ORDER BY id")
    return users + sql("SELECT auth_sessions::text FROM auth_sessions ORDER BY id")


def session_ids(sql: Sql) -> list[int]:
    return [session_id for (session_id,) in sql("SELECT id FROM auth_sessions ORDER BY id")]


def elapse(sql: Sql, seconds: float) -> None:
    """Let time pass for every session."""
    names = ("created_at", "rotated_at", "last_used_at", "valid_until", "expires_at")
    moved = ", ".join(f"{name} = {name} - interval '{seconds} seconds'" for name in names)
    sql(f"UPDATE auth_sessions SET {moved}")
