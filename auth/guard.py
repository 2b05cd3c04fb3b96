"""Who may call a route: the bearer token of a request to its Principal."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import g, request

from auth import devices
from auth.client import Client
from auth.errors import ApiError
from auth.principal import Principal
from auth.services import current_auth
from auth.tokens import access
from config import Settings

# `iat` has whole seconds, and the clocks of hosts differ.
CLOCK_TOLERANCE = timedelta(seconds=1 + access.LEEWAY_SECONDS)

P = ParamSpec("P")
T = TypeVar("T")


class Unauthenticated(Exception):
    """A request without a valid access token. code: of the registry of errors. cause: for the operator."""

    def __init__(self, code: str, *, cause: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.cause = cause

    def refusal(self) -> ApiError:
        """Return what a guarded route raises."""
        return ApiError(self.code, log_message=self.cause)


def login_required(view: Callable[P, T]) -> Callable[P, T]:
    """Let a request pass with a valid access token alone, and put its Principal into `g.principal`.

    Raises ApiError `token_missing`, `token_expired` or `token_invalid`. The statement of the route finds out
    whether the user and the session are still there: see Principal.execute and require_found.
    """

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            g.principal = identify()
        except Unauthenticated as exc:
            raise exc.refusal() from None
        return view(*args, **kwargs)

    return guarded


def identify() -> Principal:
    """Return who sent the request. Raises Unauthenticated."""
    now = time.time()
    token = _bearer_token()
    if token is None:
        raise Unauthenticated("token_missing")
    settings = current_auth().settings
    try:
        claims = access.verify(
            token, key=settings.secret_key, now=now, max_ttl_seconds=settings.jwt_expires_seconds
        )
    except access.TokenExpired:
        raise Unauthenticated("token_expired") from None
    except access.TokenInvalid as exc:
        cause = f"authentication_failed code=token_invalid cause={exc}"
        raise Unauthenticated("token_invalid", cause=cause) from None
    issued_by = datetime.fromtimestamp(max(0.0, claims.not_before), timezone.utc) + CLOCK_TOLERANCE
    return Principal(claims.user_id, claims.session_id, datetime.fromtimestamp(now, timezone.utc), issued_by)


def require_found(result: T | None) -> T:
    """Return the result of a guarded statement. Raises ApiError `token_invalid` if it is None."""
    if result is None:
        principal: Principal = g.principal
        raise principal.session_ended()
    return result


def require_feature(part: T | None) -> T:
    """Return what a feature needs, such as its settings. Raises ApiError `feature_off` if it is None."""
    if part is None:
        raise ApiError("feature_off")
    return part


def feature_required(group_of: Callable[[Settings], object]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a request pass while a feature is on. group_of: returns its group of the settings.

    It stands above login_required: a call that is off is a 404 without a token, too. Raises ApiError
    `feature_off`.
    """

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def offered(*args: P.args, **kwargs: P.kwargs) -> T:
            require_feature(group_of(current_auth().settings))
            return view(*args, **kwargs)

        return offered

    return decorate


def current_client() -> Client:
    """Return where the request comes from."""
    return Client(
        request.remote_addr or "",
        request.headers.get("User-Agent", ""),
        devices.sent_cookie(),
        arrived_at=time.monotonic(),
    )


def _bearer_token() -> str | None:
    """Return the token of the Authorization header. Returns None if there is none.

    A token in the URL is not accepted, because servers and proxies log URLs (RFC 6750 section 5.3).
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
