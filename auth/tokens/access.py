"""The access token: a JWT that this service signs and its siblings verify by themselves.

It is the only JWT there is: any other one with an `id` in it would log its holder in elsewhere.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt

ALGORITHM = "HS256"
MAX_CHARACTERS = 8192  # an email of 255 characters, each of them escaped in JSON, leaves it half empty
LEEWAY_SECONDS = 10  # the clocks of two machines differ
MAX_TIME = 1e300  # a float holds it; JSON has integers that none does
MAX_ID = 2**63 - 1  # auth_sessions.id is BIGSERIAL, and so may be the users.id of an older table


class TokenInvalid(Exception):
    """The token was not issued by this service, or is not an access token."""


class TokenExpired(TokenInvalid):
    """The token was issued by this service and its time is over."""


@dataclass(frozen=True)
class Claims:
    """What a token that this service signed says. Times: seconds since the epoch."""

    user_id: int
    session_id: int | None  # None: issued by a version that had no sessions
    expires_at: float
    not_before: float


def issue(
    user_id: int, email: str, *, session_id: int, key: str, now: float, ttl_seconds: int, token_id: str
) -> str:
    """Return a signed access token. now: seconds since the epoch."""
    issued_at = int(now)
    claims = {
        "id": user_id,
        "email": email,
        "sub": str(user_id),
        "sid": session_id,
        "iat": issued_at,
        "exp": issued_at + ttl_seconds,
        "jti": token_id,
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def verify(token: str, *, key: str, now: float) -> Claims:
    """Return the claims of an access token that this service issued.

    now: seconds since the epoch. Raises TokenExpired or TokenInvalid. The algorithm is fixed
    (RFC 8725 section 3.1). `sub`, `jti` and `sid` may be absent: earlier versions issued such tokens.
    """
    claims = _signed_claims(token, key)
    if claims.not_before > now + LEEWAY_SECONDS:
        raise TokenInvalid("iat or nbf")
    if claims.expires_at <= now - LEEWAY_SECONDS:
        raise TokenExpired("exp")
    return claims


# A client sends one token many times, and what it says does not change; only the clock does.
@lru_cache(maxsize=4096)
def _signed_claims(token: str, key: str) -> Claims:
    if len(token) > MAX_CHARACTERS:  # PyJWT decodes the header before it looks at the signature
        raise TokenInvalid("length")
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            # verify() looks at the clock that it is given, PyJWT would look at another.
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except jwt.PyJWTError as exc:
        raise TokenInvalid(type(exc).__name__) from exc
    not_before = max(_time(claims, name) if name in claims else 0.0 for name in ("iat", "nbf"))
    return Claims(_user_id(claims), _session_id(claims), _time(claims, "exp"), not_before)


def _user_id(claims: dict[str, Any]) -> int:
    user_id = claims.get("id")
    if type(user_id) is not int or not 0 < user_id <= MAX_ID:  # True is an int, too
        raise TokenInvalid("id")
    if claims.get("sub", str(user_id)) != str(user_id):
        raise TokenInvalid("sub")
    return user_id


def _session_id(claims: dict[str, Any]) -> int | None:
    session_id = claims.get("sid")
    if session_id is not None and (type(session_id) is not int or not 0 < session_id <= MAX_ID):
        raise TokenInvalid("sid")
    return session_id


def _time(claims: dict[str, Any], name: str) -> float:
    """Return a NumericDate (RFC 7519 section 2)."""
    value: Any = claims.get(name)
    if type(value) not in (int, float) or not abs(value) < MAX_TIME:  # a NaN is not below it either
        raise TokenInvalid(name)
    return float(value)
