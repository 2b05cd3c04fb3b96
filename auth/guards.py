"""What stands before a route: the JSON body and the bearer token."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import g, request
from gunicorn.http.errors import ParseException

from auth import services, tokens, validation
from auth.errors import ApiError

MAX_BODY_BYTES = 64 * 1024

P = ParamSpec("P")
T = TypeVar("T")


def json_body() -> dict[str, Any]:
    """Return the JSON object in the request's body.

    Raises ApiError `unsupported_media_type`, `bad_request`, `body_too_large` or `invalid_json`.
    """
    if request.mimetype != "application/json":
        raise ApiError("unsupported_media_type")
    try:
        raw = request.get_data(cache=False)
    except (OSError, ParseException):  # gunicorn's, for chunks that end too early or are malformed
        raise ApiError("bad_request") from None
    if len(raw) > MAX_BODY_BYTES:
        raise ApiError("body_too_large")
    return validation.parse_object(raw)


def login_required(view: Callable[P, T]) -> Callable[P, T]:
    """Let a request pass only with a valid access token, whose claims are then in `g.claims`.

    Raises ApiError `token_missing`, `token_expired` or `token_invalid`.
    """

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        g.claims = _claims()
        return view(*args, **kwargs)

    return guarded


def _claims() -> tokens.Claims:
    try:
        return tokens.verify(_bearer_token(), key=services().settings.secret_key, now=time.time())
    except tokens.TokenExpired:
        raise ApiError("token_expired") from None
    except tokens.TokenInvalid as exc:
        cause = f"authentication_failed code=token_invalid cause={exc}"
        raise ApiError("token_invalid", log_message=cause) from None


def _bearer_token() -> str:
    """Return the token of the Authorization header; never of the URL: those are logged (RFC 6750, 5.3)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError("token_missing")
    return token.strip()
