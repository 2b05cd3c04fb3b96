"""Access tokens, read and built by hand from RFC 7515: also tokens that the service never issues."""

import base64
import hmac
import json
import time
from typing import Any

import jwt

from tests.support import SECRET_KEY


def encoded(raw: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    """Return the JSON object of a token's header or payload."""
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return value


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token that the service issued just now."""
    claims: dict[str, Any] = jwt.decode(token, SECRET_KEY, algorithms=["HS256"])
    return claims


def signed(claims: object, *, key: str = SECRET_KEY, digest: str = "sha256", **header: object) -> str:
    """Return a token with any claims.

    header: changes {"alg": "HS256", "typ": "JWT"}; a name set to ... is left out.
    """
    head = {"alg": "HS256", "typ": "JWT"} | header
    head = {name: value for name, value in head.items() if value is not ...}
    message = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{message}.{encoded(hmac.digest(key.encode(), message.encode(), digest))}"


def without_session(user_id: int, **claims: object) -> str:
    """Return an access token of an earlier version, which knew no sessions. It is valid for an hour."""
    return signed({"id": user_id, "exp": int(time.time()) + 3600} | claims)


EXPIRED = signed({"id": 1, "exp": 1})
