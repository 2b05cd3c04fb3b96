"""Refreshing, listing and revoking sessions."""

from typing import Any

from flask import g

from auth import refresh_states, responses, sessions
from auth.blueprint import bp
from auth.bodies import json_body, optional_json_body
from auth.errors import ApiError
from auth.fields import required_text
from auth.guard import Unauthenticated, current_client, identify, login_required, require_found
from auth.services import current_auth
from auth.tokens import refresh, rotation
from runtime import clock


@bp.post("/refresh")
def refresh_session() -> dict[str, Any]:
    """Exchange a refresh token for new tokens, for its holder. Answers 200 with the tokens."""
    auth, client = current_auth(), current_client()
    token = refresh.parse(required_text(json_body(), "refresh_token"))
    tokens = None
    if token is not None:
        tokens = rotation.rotate(token, database=auth.database, settings=auth.settings, now=clock.now())
    if tokens is None:
        auth.throttle.unknown_token(client)
        raise ApiError("refresh_invalid")
    return responses.token_pair(tokens)


@bp.post("/logout")
def logout() -> tuple[str, int]:
    """Revoke the session of the access token, or of a refresh token in the body. Answers 204, also again."""
    try:
        principal = identify()
    except Unauthenticated as exc:
        if not _revoke_by_body():
            raise exc.refusal() from None
        return "", 204
    if principal.session_id is None:
        _revoke_by_body()
    else:
        current_auth().database.write(sessions.revoke, principal.session_id, user_id=principal.user_id)
    return "", 204


@bp.get("/sessions")
@login_required
def list_sessions() -> dict[str, Any]:
    """Answer the user's live sessions, the newest first, for the user."""
    rows = require_found(current_auth().database.read(sessions.find_all, g.principal))
    return {"sessions": [responses.session(row, current=row.id == g.principal.session_id) for row in rows]}


@bp.delete("/sessions/<int:session_id>")
@login_required
def revoke_session(session_id: int) -> tuple[str, int]:
    """Revoke one of the user's sessions, for the user. Answers 204, or 404 if it is not live."""
    if not require_found(current_auth().database.write(sessions.revoke_own, g.principal, session_id)):
        raise ApiError("not_found")
    return "", 204


@bp.delete("/sessions")
@login_required
def revoke_other_sessions() -> tuple[str, int]:
    """Revoke every session of the user but the current one, for the user. Answers 204."""
    if not current_auth().database.write(sessions.revoke_others, g.principal):
        raise g.principal.session_ended()
    return "", 204


def _revoke_by_body() -> bool:
    """Revoke the session of the refresh token in the body. Returns False if the body has none.

    The session of an unknown token has ended as well (RFC 7009 section 2.2).
    """
    body = optional_json_body()
    if "refresh_token" not in body:
        return False
    token = refresh.parse(required_text(body, "refresh_token"))
    if token is None:
        raise ApiError("refresh_invalid")
    current_auth().database.write(refresh_states.revoke_by_selector, token.selector_hash())
    return True
