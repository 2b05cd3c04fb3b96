"""The access token: a JWT (RFC 7519) that this service signs and that its siblings verify by themselves.

It is the only JWT of the service: siblings would accept any other one that has an `id` (token confusion).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt

ALGORITHM = "HS256"
TYPE = "at+jwt"  # RFC 9068 section 2.1: no JWT for another purpose has this type
ACCEPTED_TYPES = (TYPE, "JWT")  # earlier versions issued the second one
MAX_CHARACTERS = 8192  # twice the length of a token with the longest email, each character escaped in JSON
LEEWAY_SECONDS = 10  # for machines whose clocks differ
MAX_TIME = 1e300  # JSON allows integers that are too large for a float
MAX_ID = 2**63 - 1  # the ids of auth_sessions, and of an older users, are BIGINT


class TokenInvalid(Exception):
    """The token was not issued by this service, or is not an access token."""


class TokenExpired(TokenInvalid):
    """This service issued the token, and its lifetime has ended."""


@dataclass(frozen=True)
class Claims:
    """The claims of a token that this service signed. Times: seconds since the epoch."""

    user_id: int
    session_id: int | None  # None: a version without sessions issued the token
    expires_at: float
    not_before: float
    is_complete: bool  # has sub, jti and sid; False: an earlier version issued the token


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
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"typ": TYPE})


def verify(token: str, *, key: str, now: float, max_ttl_seconds: int) -> Claims:
    """Return the claims of an access token that this service issued.

    now: seconds since the epoch. Raises TokenExpired or TokenInvalid. The algorithm is fixed (RFC 8725
    section 3.1). Earlier versions issued tokens without `sub`, `jti` or `sid`: such a token is valid if it
    ends within max_ttl_seconds from now.
    """
    claims = _signed_claims(token, key)
    if claims.not_before > now + LEEWAY_SECONDS:
        raise TokenInvalid("iat or nbf")
    if claims.expires_at <= now - LEEWAY_SECONDS:
        raise TokenExpired("exp")
    # Nobody can revoke a token without a session: it must not last longer than a token that is issued now.
    if not claims.is_complete and claims.expires_at > now + max_ttl_seconds + LEEWAY_SECONDS:
        raise TokenInvalid("exp without sub, jti or sid")
    return claims


# A client sends one token many times. Its claims stay the same; `verify` compares them with the clock and the
# settings.
@lru_cache(maxsize=4096)
def _signed_claims(token: str, key: str) -> Claims:
    if len(token) > MAX_CHARACTERS:  # PyJWT decodes the header before it checks the signature
        raise TokenInvalid("length")
    try:
        decoded = jwt.decode_complete(
            token,
            key,
            algorithms=[ALGORITHM],
            # verify() compares the times with `now`; PyJWT would read the clock of the machine.
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except jwt.PyJWTError as exc:
        raise TokenInvalid(type(exc).__name__) from exc
    if decoded["header"].get("typ", TYPE) not in ACCEPTED_TYPES:
        raise TokenInvalid("typ")
    claims = decoded["payload"]
    not_before = max(_time(claims, name) if name in claims else 0.0 for name in ("iat", "nbf"))
    session_id = _session_id(claims)
    is_complete = session_id is not None and "sub" in claims and "jti" in claims
    return Claims(_user_id(claims), session_id, _time(claims, "exp"), not_before, is_complete)


def _user_id(claims: dict[str, Any]) -> int:
    user_id = claims.get("id")
    if type(user_id) is not int or not 0 < user_id <= MAX_ID:  # True is an int as well
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
    if type(value) not in (int, float) or not abs(value) < MAX_TIME:  # NaN fails this comparison, too
        raise TokenInvalid(name)
    return float(value)
