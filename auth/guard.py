"""What stands before a route: the JSON body, the bearer token, the client."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import g, request

from auth import services, validation
from auth.errors import ApiError
from auth.principal import Principal
from auth.sessions import NewSession
from auth.tokens import access
from auth.tokens import pair as token_pairs
from auth.tokens.refresh import RefreshToken
from config import MAX_BODY_BYTES

# `iat` has whole seconds, and hosts' clocks differ.
CLOCK_TOLERANCE = timedelta(seconds=1 + access.LEEWAY_SECONDS)

P = ParamSpec("P")
T = TypeVar("T")


def json_body() -> dict[str, Any]:
    """Return the JSON object in the request's body.

    Raises ApiError `unsupported_media_type`, `bad_request`, `body_too_large` or `invalid_json`.
    """
    if _media_type() != "application/json":
        raise ApiError("unsupported_media_type")
    try:
        raw = request.get_data(cache=False)
    except OSError:  # of the development server: the client is gone
        raise ApiError("bad_request") from None
    if len(raw) > MAX_BODY_BYTES:
        raise ApiError("body_too_large")
    return validation.parse_object(raw)


def optional_json_body() -> dict[str, Any]:
    """Return the JSON object in the request's body, {} when there is no body. Raises as json_body does."""
    has_body = request.content_length or request.headers.get("Transfer-Encoding")
    return json_body() if has_body else {}


def login_required(view: Callable[P, T]) -> Callable[P, T]:
    """Let a request pass only with a valid access token, and put its Principal into `g.principal`.

    Raises ApiError `token_missing`, `token_expired` or `token_invalid`. Whether the user and the session
    are still there, the route's own statement finds out.
    """

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        g.principal = authenticate()
        return view(*args, **kwargs)

    return guarded


def authenticate() -> Principal:
    """Return who sent the request. Raises as login_required does."""
    now = time.time()
    try:
        claims = access.verify(_bearer_token(), key=services().settings.secret_key, now=now)
    except access.TokenExpired:
        raise ApiError("token_expired") from None
    except access.TokenInvalid as exc:
        cause = f"authentication_failed code=token_invalid cause={exc}"
        raise ApiError("token_invalid", log_message=cause) from None
    issued_by = datetime.fromtimestamp(max(0.0, claims.not_before), timezone.utc) + CLOCK_TOLERANCE
    return Principal(claims.user_id, claims.session_id, datetime.fromtimestamp(now, timezone.utc), issued_by)


def require_found(found: T | None) -> T:
    """Return what a guarded statement found. Raises ApiError `token_invalid` when it found no caller."""
    if found is None:
        raise principal_gone()
    return found


def principal_gone() -> ApiError:
    """Return the refusal of a caller who is no longer a user, or whose session is over."""
    cause = f"session_over user_id={g.principal.user_id} session_id={g.principal.session_id}"
    return ApiError("token_invalid", log_message=cause)


def new_session() -> tuple[RefreshToken, NewSession]:
    """Return a session for the client that sent the request, and its first refresh token."""
    refresh = token_pairs.new_refresh_token()
    session = token_pairs.new_session(
        refresh,
        settings=services().settings,
        now=datetime.now(timezone.utc),
        ip=request.remote_addr or "",
        user_agent=request.headers.get("User-Agent", ""),
    )
    return refresh, session


def _media_type() -> str:
    """Return the type of the body without its parameters; Werkzeug takes milliseconds to read a long list."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _bearer_token() -> str:
    """Return the token of the Authorization header; never of the URL: those are logged (RFC 6750, 5.3)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError("token_missing")
    return token.strip()
