"""Rows to JSON bodies, in the spellings that clients read."""

from datetime import datetime, timezone
from typing import Any

from auth.users import User


def user(row: User) -> dict[str, Any]:
    """Return the user object; the frontend reads the camelCase names, older clients the others."""
    first_name, last_name = row.first_name or "", row.last_name or ""
    created_at = utc(row.created_at) if row.created_at else None
    return {
        "id": row.id,
        "username": row.username,
        "email": row.email,
        "first_name": first_name,
        "last_name": last_name,
        "created_at": created_at,
        "firstName": first_name,
        "lastName": last_name,
        "createdAt": created_at,
    }


def login(row: User, *, token: str, expires_in: int) -> dict[str, Any]:
    """Return the answer to a login. expires_in: seconds."""
    return {"token": token, "type": "Bearer", "expires_in": expires_in, "user": user(row)}


def registration(row: User, *, token: str, expires_in: int) -> dict[str, Any]:
    """Return the answer to a registration: a login's, and what an older client reads."""
    return {
        "message": "User registered successfully",
        **login(row, token=token, expires_in=expires_in),
        "userId": row.id,
        "username": row.username,
    }


def utc(at: datetime) -> str:
    """Return `at` as ISO 8601 in UTC with milliseconds and Z; a naive time is already UTC."""
    if at.tzinfo is not None:
        at = at.astimezone(timezone.utc).replace(tzinfo=None)
    return at.isoformat(timespec="milliseconds") + "Z"
