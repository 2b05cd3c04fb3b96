"""The access token and the refresh token that a client gets together, and the session behind them."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from auth.sessions import NewSession, SessionGrant
from auth.tokens import access
from auth.tokens.refresh import SELECTOR_BYTES, VERIFIER_BYTES, RefreshToken
from config import Settings

MAX_USER_AGENT_CHARACTERS = 200


@dataclass(frozen=True)
class TokenPair:
    """What a client keeps. Lifetimes in seconds."""

    token: str = field(repr=False)
    expires_in: int
    refresh_token: str = field(repr=False)
    refresh_expires_in: int


def new_refresh_token() -> RefreshToken:
    """Return a random refresh token."""
    return RefreshToken(secrets.token_bytes(SELECTOR_BYTES), secrets.token_bytes(VERIFIER_BYTES))


def new_session(
    refresh: RefreshToken, *, settings: Settings, now: datetime, ip: str, user_agent: str
) -> NewSession:
    """Return the session that `refresh` is to open. now: aware."""
    expires_at = now + timedelta(seconds=settings.session_max_seconds)
    return NewSession(
        handle_hash=refresh.selector_hash(),
        token_hash=refresh.hash(),
        now=now,
        valid_until=min(next_end(settings, now), expires_at),
        expires_at=expires_at,
        ip=ip,
        # ASCII, because the database may have an encoding that lacks the rest.
        user_agent=user_agent.encode("ascii", "replace").decode("ascii")[:MAX_USER_AGENT_CHARACTERS],
    )


def next_end(settings: Settings, now: datetime) -> datetime:
    """Return when a session that is refreshed now ends unless it is refreshed again."""
    return now + timedelta(seconds=settings.refresh_expires_seconds)


def issue(refresh: RefreshToken, session: SessionGrant, *, settings: Settings, now: datetime) -> TokenPair:
    """Return the pair for a session; neither token outlives it."""
    refresh_expires_in = int((session.valid_until - now).total_seconds())
    expires_in = min(settings.jwt_expires_seconds, refresh_expires_in)
    token = access.issue(
        session.user_id,
        session.email,
        session_id=session.id,
        key=settings.secret_key,
        now=now.timestamp(),
        ttl_seconds=expires_in,
        token_id=secrets.token_hex(16),
    )
    return TokenPair(token, expires_in, refresh.text(), refresh_expires_in)
