"""What a refresh means: the token is the current one, was replaced a moment ago, or was stolen."""

import secrets
from datetime import datetime

from auth import refresh_states, sessions
from auth.errors import ApiError
from auth.sessions import SessionGrant
from auth.tokens import pair
from auth.tokens.pair import TokenPair
from auth.tokens.refresh import SALT_BYTES, RefreshToken
from config import Settings
from db import Database


def rotate(token: RefreshToken, *, database: Database, settings: Settings, now: datetime) -> TokenPair | None:
    """Return the tokens that follow `token`. now: aware.

    Returns None if no live session has the token. Raises ApiError `refresh_reused` for a stolen token, and
    `refresh_invalid` for the token before the current one if SECRET_KEY has changed.
    """
    salt = secrets.token_bytes(SALT_BYTES)
    successor = token.successor(salt=salt, key=settings.secret_key)
    state = database.write(
        refresh_states.rotate,
        selector_hash=token.selector_hash(),
        old_hash=token.hash(),
        new_hash=successor.hash(),
        salt=salt,
        now=now,
        idle_expires_at=pair.idle_expiry(settings, now),
    )
    if state is None:
        replaced = _replaced(token, database=database, settings=settings, now=now)
        if replaced is None:
            return None
        grant, successor = replaced
    else:
        grant = state.grant
    return pair.issue(successor, grant, settings=settings, now=now)


def _replaced(
    token: RefreshToken, *, database: Database, settings: Settings, now: datetime
) -> tuple[SessionGrant, RefreshToken] | None:
    """Return the session and the current token for a token that is no longer current.

    Returns None if no live session has the token.

    The token that was replaced last gets the same successor for REFRESH_REUSE_SECONDS: for a second tab, or a
    client whose answer was lost. An older token was copied: its session is revoked, for the thief and for the
    owner (RFC 9700 section 4.14.2).
    """
    state = database.read(refresh_states.find, token.selector_hash(), now=now)
    if state is None:
        return None
    is_recent = state.seconds_since_rotation <= settings.refresh_reuse_seconds
    if state.previous_hash == token.hash() and state.salt and is_recent:
        successor = token.successor(salt=state.salt, key=settings.secret_key)
        if successor.hash() != state.token_hash:  # another SECRET_KEY made the current token
            raise ApiError("refresh_invalid")
        return state.grant, successor
    database.write(sessions.revoke, state.grant.id, user_id=state.grant.user_id)
    cause = f"refresh_reused user_id={state.grant.user_id} session_id={state.grant.id}"
    raise ApiError("refresh_reused", log_message=cause)
