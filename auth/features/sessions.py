"""Refreshing, listing and ending sessions."""

import logging
import secrets
from datetime import datetime, timezone
from itertools import count
from typing import Any

from flask import Response, after_this_request, g

from auth import Services, bp, responses, services, sessions, validation
from auth.errors import ApiError
from auth.guard import (
    authenticate,
    json_body,
    login_required,
    optional_json_body,
    principal_gone,
    require_found,
)
from auth.sessions import SessionGrant
from auth.tokens import pair as token_pairs
from auth.tokens import refresh as refresh_tokens
from auth.tokens.refresh import SALT_BYTES, RefreshToken
from runtime.faults import DatabaseUnavailable

PURGE_EVERY = 50  # sessions opened by this process
PURGE_AT_MOST = 500  # more than are opened in between, so that the table does not grow

log = logging.getLogger("auth")
_opened = count(1)


@bp.post("/refresh")
def refresh() -> dict[str, Any]:
    token = _refresh_token(json_body())
    now = datetime.now(timezone.utc)
    settings = services().settings
    salt = secrets.token_bytes(SALT_BYTES)
    successor = token.successor(salt=salt, key=settings.secret_key)
    holder = services().database.write(
        sessions.rotate,
        handle_hash=token.selector_hash(),
        old_hash=token.hash(),
        new_hash=successor.hash(),
        salt=salt,
        now=now,
        valid_until=token_pairs.next_end(settings, now),
    )
    live, successor = (holder.session, successor) if holder else _replaced(token, now)
    return responses.token_pair(token_pairs.issue(successor, live, settings=settings, now=now))


@bp.post("/logout")
def logout() -> tuple[str, int]:
    try:
        caller = authenticate()
    except ApiError:
        body = optional_json_body()
        if "refresh_token" not in body:
            raise
        _end_by_refresh_token(body)
        return "", 204
    if caller.session_id is not None:
        services().database.write(sessions.revoke, caller.session_id, user_id=caller.user_id)
    elif "refresh_token" in (body := optional_json_body()):
        _end_by_refresh_token(body)
    return "", 204


@bp.get("/sessions")
@login_required
def list_sessions() -> dict[str, Any]:
    found = require_found(services().database.read(sessions.list_for, g.principal))
    return {"sessions": [responses.session(row, current=row.id == g.principal.session_id) for row in found]}


@bp.delete("/sessions/<int:session_id>")
@login_required
def end_session(session_id: int) -> tuple[str, int]:
    if not require_found(services().database.write(sessions.revoke_of_principal, g.principal, session_id)):
        raise ApiError("not_found")
    return "", 204


@bp.delete("/sessions")
@login_required
def end_other_sessions() -> tuple[str, int]:
    if not services().database.write(sessions.revoke_others, g.principal):
        raise principal_gone()
    return "", 204


def purge_now_and_then() -> None:
    """Remove sessions that are over, after the answer to every so many logins has gone out."""
    if next(_opened) % PURGE_EVERY:
        return
    running = services()

    @after_this_request
    def purge_later(response: Response) -> Response:
        response.call_on_close(lambda: _purge(running))
        return response


def _purge(running: Services) -> None:
    try:
        removed = running.database.write(
            sessions.purge, now=datetime.now(timezone.utc), at_most=PURGE_AT_MOST
        )
    except DatabaseUnavailable as exc:
        log.warning("sessions_not_purged: %s", exc)
    else:
        log.info("sessions_purged count=%s", removed)


def _end_by_refresh_token(body: dict[str, Any]) -> None:
    """End the session of a refresh token; an unknown one is over as well (RFC 7009 section 2.2)."""
    services().database.write(sessions.revoke_by_selector, _refresh_token(body).selector_hash())


def _refresh_token(body: dict[str, Any]) -> RefreshToken:
    token = refresh_tokens.parse(validation.refresh_token(body))
    if token is None:
        raise ApiError("refresh_invalid")
    return token


def _replaced(token: RefreshToken, now: datetime) -> tuple[SessionGrant, RefreshToken]:
    """Return the session and the current token for one that is not current any more.

    A second tab, or a client whose answer was lost, gets what the first got. Anything older is a token
    that somebody kept: the session ends for whoever has it (RFC 9700 section 4.14.2).
    """
    settings = services().settings
    holder = services().database.read(sessions.find_refresh_state, token.selector_hash(), now=now)
    if holder is None:
        raise ApiError("refresh_invalid")
    in_time = holder.seconds_since_rotation <= settings.refresh_reuse_seconds
    if holder.previous_hash == token.hash() and holder.salt and in_time:
        successor = token.successor(salt=holder.salt, key=settings.secret_key)
        if successor.hash() != holder.token_hash:  # it was made with another SECRET_KEY
            raise ApiError("refresh_invalid")
        return holder.session, successor
    services().database.write(sessions.revoke, holder.session.id, user_id=holder.session.user_id)
    cause = f"refresh_reused user_id={holder.session.user_id} session_id={holder.session.id}"
    raise ApiError("refresh_reused", log_message=cause)
