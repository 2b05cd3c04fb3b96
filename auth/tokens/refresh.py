"""Refresh tokens: opaque to everybody but this service, which stores nothing of them but SHA-256.

A token is a handle, which finds its session, and a secret. A refresh replaces the secret by one that is
derived from it: so the same token shown twice, by two tabs or after a lost answer, leads to the same
successor, although that is stored nowhere. Nobody derives it without the old secret, the salt in the
database and the key of the service, all three.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field

SELECTOR_BYTES = 16
VERIFIER_BYTES = 32
SALT_BYTES = 32

_TEXT = re.compile(r"[A-Za-z0-9_-]{64}")  # 48 bytes in base64


@dataclass(frozen=True)
class RefreshToken:
    """A handle that finds the session, and the secret of its present holder."""

    handle: bytes = field(repr=False)
    secret: bytes = field(repr=False)

    def text(self) -> str:
        """Return the token as clients carry it: 64 URL-safe characters."""
        return base64.urlsafe_b64encode(self.handle + self.secret).decode("ascii")

    def selector_hash(self) -> bytes:
        return hashlib.sha256(self.handle).digest()

    def hash(self) -> bytes:
        return hashlib.sha256(self.text().encode("ascii")).digest()

    def successor(self, *, salt: bytes, key: str) -> "RefreshToken":
        """Return the token that replaces this one."""
        message = b"refresh token" + salt + self.handle + self.secret
        return RefreshToken(self.handle, hmac.digest(key.encode(), message, hashlib.sha256))


def parse(text: str) -> RefreshToken | None:
    """Return the token that `text` is, None when it cannot be one."""
    if not _TEXT.fullmatch(text):
        return None
    raw = base64.urlsafe_b64decode(text)
    return RefreshToken(raw[:SELECTOR_BYTES], raw[SELECTOR_BYTES:])
