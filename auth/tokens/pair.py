"""The access token and the refresh token that a client gets together, and their lifetimes."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from auth.sessions import SessionGrant
from auth.tokens import access
from auth.tokens.refresh import RefreshToken
from config import Settings


@dataclass(frozen=True)
class TokenPair:
    """The tokens of one session. Lifetimes in seconds."""

    token: str = field(repr=False)
    expires_in: int
    refresh_token: str = field(repr=False)
    refresh_expires_in: int


def idle_expiry(settings: Settings, now: datetime) -> datetime:
    """Return the end of a session that is refreshed now, unless it is refreshed again."""
    return now + timedelta(seconds=settings.refresh_expires_seconds)


def issue(refresh: RefreshToken, grant: SessionGrant, *, settings: Settings, now: datetime) -> TokenPair:
    """Return the pair for a session. Neither token outlives the session."""
    refresh_expires_in = int((grant.idle_expires_at - now).total_seconds())
    expires_in = min(settings.jwt_expires_seconds, refresh_expires_in)
    token = access.issue(
        grant.user_id,
        grant.email,
        session_id=grant.id,
        key=settings.secret_key,
        now=now.timestamp(),
        ttl_seconds=expires_in,
        token_id=secrets.token_hex(16),
    )
    return TokenPair(token, expires_in, refresh.text(), refresh_expires_in)
