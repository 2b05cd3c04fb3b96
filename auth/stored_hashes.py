"""Stored password hashes, and the bytes that each version of the service gave to bcrypt.

Pure: this module knows neither bcrypt nor the database.
"""

import base64
import hashlib
import hmac
import re
import unicodedata
from dataclasses import dataclass, field

MAX_PASSWORD_CHARACTERS = 256  # in Unicode normal form NFC
# One character is composed of at most four, so a longer text is too long in NFC as well. The time to
# normalise grows with the square of a run of accents (algorithmic complexity attack): check this limit first.
MAX_TYPED_CHARACTERS = 4 * MAX_PASSWORD_CHARACTERS
BCRYPT_MAX_BYTES = 72
# Domain separation: these digests differ from any other SHA-384 of a password, such as in a leaked list.
LONG_PASSWORD_LABEL = b"user-service long password v1"

# The two prefixes of Django and the one of Dovecot. CHAR columns and imported files add blanks and line ends.
_PREFIX = r"(bcrypt\$|bcrypt_sha256\$|\{BLF-CRYPT\})?"
_ROUNDS = "(0[4-9]|[12][0-9]|3[01])"
# A salt has 128 bits in 22 characters. Only two bits of the last character count; bcrypt refuses the others.
_STORED = re.compile(rf"{_PREFIX}(\$2[aby]\${_ROUNDS}\$[./A-Za-z0-9]{{21}}[.Oeu][./A-Za-z0-9]{{31}})\s*")


@dataclass(frozen=True)
class StoredHash:
    """A hash that bcrypt can read. digested: whether bcrypt got Django's SHA-256 digest of the password."""

    bcrypt: str = field(repr=False)
    rounds: int
    digested: bool

    def is_of_today(self, stored: str) -> bool:
        """Return whether this version would write the hash as `stored`, the text that it was read from."""
        return stored == self.bcrypt and stored.startswith("$2b$")


@dataclass(frozen=True)
class Form:
    """The bytes that one version of the service made of a password.

    secret: the input of bcrypt. text: the whole password, which Django digests. successor: the input of
    bcrypt for the hash that replaces this one.
    """

    secret: bytes = field(repr=False)
    text: bytes = field(repr=False)
    successor: bytes = field(repr=False)

    def secret_for(self, stored: StoredHash) -> bytes:
        """Return the input of bcrypt if `stored` is a hash of this form."""
        return hashlib.sha256(self.text).hexdigest().encode() if stored.digested else self.secret

    def successor_of(self, stored: StoredHash) -> bytes:
        return bcrypt_input(self.text.decode()) if stored.digested else self.successor


def normalise(password: str) -> str:
    """Return the NFC form, because two keyboards may compose one password differently (NIST SP 800-63B-4).

    password: at most MAX_TYPED_CHARACTERS long.
    """
    return unicodedata.normalize("NFC", password)


def read(stored: str) -> StoredHash | None:
    """Return the hash in a stored text. Returns None if the text holds no bcrypt hash."""
    match = _STORED.fullmatch(stored)
    return StoredHash(match[2], int(match[3]), match[1] == "bcrypt_sha256$") if match else None


def bcrypt_input(password: str) -> bytes:
    """Return the at most 72 bytes that stand for the whole password.

    A short password stays as it is, so that existing hashes keep working. A password of exactly 72 bytes
    counts as long: an older bcrypt made the same hash of every longer password that begins with these bytes.
    """
    raw = normalise(password).encode()
    if len(raw) < BCRYPT_MAX_BYTES:
        return raw
    return base64.b64encode(hmac.digest(LONG_PASSWORD_LABEL, raw, hashlib.sha384))


def forms(password: str) -> list[Form]:
    """Return the forms of a password, today's first. The number of forms depends on the password alone.

    A password of less than 72 bytes in NFC has one form. Older versions did not normalise, and an older
    bcrypt cut off every byte after the 72nd.
    """
    composed, typed = normalise(password).encode(), password.encode()
    today = bcrypt_input(password)
    return list(
        dict.fromkeys(
            [
                Form(today, composed, today),
                Form(composed[:BCRYPT_MAX_BYTES], composed, _cut_off(composed) or today),
                Form(typed[:BCRYPT_MAX_BYTES], typed, _cut_off(typed) or today),
            ]
        )
    )


def _cut_off(text: bytes) -> bytes | None:
    """Return the first 72 bytes of a text. Returns None if the text is shorter.

    A hash of the 72 bytes does not tell which bytes came after them. A new hash of the whole text would turn
    a typing mistake behind the 72nd byte into the password and lock the owner out. The replacement is
    therefore made of these bytes as well, until the user changes the password.
    """
    return text[:BCRYPT_MAX_BYTES] if len(text) >= BCRYPT_MAX_BYTES else None
