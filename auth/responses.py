"""Rows to JSON bodies, in the spellings that clients read."""

from datetime import datetime, timezone
from typing import Any

from auth.sessions import Session
from auth.tokens.pair import TokenPair
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


def token_pair(pair: TokenPair) -> dict[str, Any]:
    """Return the tokens as RFC 6749 section 5.1 would, with `token` for what it calls access_token."""
    return {
        "token": pair.token,
        "type": "Bearer",
        "expires_in": pair.expires_in,
        "refresh_token": pair.refresh_token,
        "refresh_expires_in": pair.refresh_expires_in,
    }


def login(row: User, pair: TokenPair) -> dict[str, Any]:
    """Return the answer to a login."""
    return {**token_pair(pair), "user": user(row)}


def registration(row: User, pair: TokenPair) -> dict[str, Any]:
    """Return the answer to a registration: a login's, and what an older client reads."""
    return {
        "message": "User registered successfully",
        **login(row, pair),
        "userId": row.id,
        "username": row.username,
    }


def session(row: Session, *, current: bool) -> dict[str, Any]:
    """Return a session as its user sees it."""
    return {
        "id": row.id,
        "created_at": utc(row.created_at),
        "last_used_at": utc(row.last_used_at),
        "expires_at": utc(row.expires_at),
        "ip": row.ip,
        "user_agent": row.user_agent,
        "current": current,
    }


def utc(at: datetime) -> str:
    """Return `at` as ISO 8601 in UTC with milliseconds and Z; a naive time is already UTC."""
    if at.tzinfo is not None:
        at = at.astimezone(timezone.utc).replace(tzinfo=None)
    return at.isoformat(timespec="milliseconds") + "Z"
