"""Refresh tokens: opaque to everybody but this service, which stores SHA-256 hashes of them alone.

A token is a selector, which finds its session, and a verifier. A refresh replaces the verifier by one that is
derived from it. The same token shown twice, by two tabs or after a lost answer, therefore leads to the same
successor, although the successor is stored nowhere. Deriving it takes the old verifier, the salt in the
database and the key of the service, all three.
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

SELECTOR_BYTES = 16
VERIFIER_BYTES = 32
SALT_BYTES = 32

_TEXT = re.compile(r"[A-Za-z0-9_-]{64}")  # 48 bytes in base64


@dataclass(frozen=True)
class RefreshToken:
    """A selector, which finds the session, and the verifier of the session's current token."""

    selector: bytes = field(repr=False)
    verifier: bytes = field(repr=False)

    def text(self) -> str:
        """Return the token as clients carry it: 64 URL-safe characters."""
        return base64.urlsafe_b64encode(self.selector + self.verifier).decode("ascii")

    def selector_hash(self) -> bytes:
        return hashlib.sha256(self.selector).digest()

    def hash(self) -> bytes:
        return hashlib.sha256(self.text().encode("ascii")).digest()

    def successor(self, *, salt: bytes, key: str) -> "RefreshToken":
        """Return the token that replaces this one."""
        message = b"refresh token" + salt + self.selector + self.verifier
        return RefreshToken(self.selector, hmac.digest(key.encode(), message, hashlib.sha256))


def new() -> RefreshToken:
    """Return a random refresh token."""
    return RefreshToken(secrets.token_bytes(SELECTOR_BYTES), secrets.token_bytes(VERIFIER_BYTES))


def parse(text: str) -> RefreshToken | None:
    """Return the token that `text` is. Returns None if `text` has another shape."""
    if not _TEXT.fullmatch(text):
        return None
    raw = base64.urlsafe_b64decode(text)
    return RefreshToken(raw[:SELECTOR_BYTES], raw[SELECTOR_BYTES:])
