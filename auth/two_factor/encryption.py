"""The encryption of the secrets of authenticator apps, and keys derived from SECRET_KEY. Pure."""

from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12  # NIST SP 800-38D section 8.2.2
KEY_BYTES = 32
TOTP_SECRETS, RECOVERY_CODES = "user-service totp secrets", "user-service recovery codes"


class Undecryptable(Exception):
    """A secret that was encrypted with another key or for another user, or that is damaged."""


@cache
def derived_key(secret_key: str, purpose: str) -> bytes:
    """Return the key for one purpose: HKDF-SHA-256 (RFC 5869) of SECRET_KEY.

    SECRET_KEY itself only signs. Nobody learns it from a derived key, nor one derived key from another.
    """
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(secret_key.encode())


def encrypt(secret: bytes, *, user_id: int, secret_key: str, nonce: bytes) -> bytes:
    """Return nonce, ciphertext and tag (AES-256-GCM). nonce: NONCE_BYTES random bytes, for this call alone.

    The user's id is authenticated: a row that is copied to another user cannot be decrypted there.
    """
    cipher = AESGCM(derived_key(secret_key, TOTP_SECRETS))
    return nonce + cipher.encrypt(nonce, secret, _associated_data(user_id))


def decrypt(encrypted: bytes, *, user_id: int, secret_key: str) -> bytes:
    """Return the secret. Raises Undecryptable."""
    cipher = AESGCM(derived_key(secret_key, TOTP_SECRETS))
    nonce, ciphertext = encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:]
    try:
        return cipher.decrypt(nonce, ciphertext, _associated_data(user_id))
    except (InvalidTag, ValueError):  # ValueError: the stored value is cut off
        raise Undecryptable from None


def _associated_data(user_id: int) -> bytes:
    return f"user {user_id}".encode()
