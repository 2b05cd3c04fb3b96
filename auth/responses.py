"""The JSON bodies of answers: rows and tokens under the names that clients read."""

from typing import Any

from auth.sessions import Session
from auth.tokens.pair import TokenPair
from auth.tokens.tickets import Ticket
from auth.users import User
from runtime import clock


def user(row: User) -> dict[str, Any]:
    """Return the user object. The frontend reads the camelCase names, older clients the snake_case names."""
    first_name, last_name = row.first_name or "", row.last_name or ""
    created_at = clock.to_iso(row.created_at) if row.created_at else None
    pending_email = {"pending_email": row.pending_email} if row.pending_email else {}
    return {
        "id": row.id,
        "username": row.username,
        "email": row.email,
        "email_verified": row.email_verified,
        **pending_email,
        "two_factor": row.two_factor,
        "first_name": first_name,
        "last_name": last_name,
        "created_at": created_at,
        "firstName": first_name,
        "lastName": last_name,
        "createdAt": created_at,
    }


def token_pair(pair: TokenPair) -> dict[str, Any]:
    """Return the tokens as in RFC 6749 section 5.1, but with `token` in the place of `access_token`."""
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


def ticket(row: Ticket) -> dict[str, Any]:
    """Return what a login adds to its refusal while the second factor is due."""
    return {"ticket": row.token, "expires_in": row.expires_in}


def registration(row: User, pair: TokenPair | None) -> dict[str, Any]:
    """Return the answer to a registration: that to a login, and the fields that an older client reads.

    pair: None if no session was opened.
    """
    return {
        "message": "User registered successfully",
        **(token_pair(pair) if pair else {}),
        "user": user(row),
        "userId": row.id,
        "username": row.username,
    }


def session(row: Session, *, current: bool) -> dict[str, Any]:
    """Return a session as its user sees it."""
    return {
        "id": row.id,
        "created_at": clock.to_iso(row.created_at),
        "last_used_at": clock.to_iso(row.last_used_at),
        "expires_at": clock.to_iso(row.expires_at),
        "ip": row.ip,
        "user_agent": row.user_agent,
        "current": current,
    }
