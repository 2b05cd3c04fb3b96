"""Password hashes as they are stored, and what the versions that made them gave to bcrypt.

Pure: it knows neither bcrypt itself nor the database.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from auth.fields import normalise

BCRYPT_MAX_BYTES = 72
# Separates these digests from any other use of SHA-384 on passwords, such as a leaked list of plain ones.
LONG_PASSWORD_LABEL = b"user-service long password v1"

# Django's two prefixes and Dovecot's; blanks and line ends come from CHAR columns and imported files.
_PREFIX = r"(bcrypt\$|bcrypt_sha256\$|\{BLF-CRYPT\})?"
_ROUNDS = "(0[4-9]|[12][0-9]|3[01])"
# A salt has 128 bits: of the last of its 22 characters only two count, and bcrypt refuses others.
_STORED = re.compile(rf"{_PREFIX}(\$2[aby]\${_ROUNDS}\$[./A-Za-z0-9]{{21}}[.Oeu][./A-Za-z0-9]{{31}})\s*")


@dataclass(frozen=True)
class StoredHash:
    """A hash that bcrypt can read. digested: bcrypt was given Django's SHA-256 digest of the password."""

    bcrypt: str = field(repr=False)
    rounds: int
    digested: bool

    def is_of_today(self, stored: str) -> bool:
        """Return whether `stored`, which this was read from, is how this version would write it."""
        return stored == self.bcrypt and stored.startswith("$2b$")


@dataclass(frozen=True)
class Form:
    """What a version made of a password.

    secret: what it gave to bcrypt. text: the whole password, which Django digests. successor: what the
    hash that replaces its hash is made of.
    """

    secret: bytes = field(repr=False)
    text: bytes = field(repr=False)
    successor: bytes = field(repr=False)

    def secret_for(self, stored: StoredHash) -> bytes:
        """Return what bcrypt was given if `stored` is a hash of this form."""
        return hashlib.sha256(self.text).hexdigest().encode() if stored.digested else self.secret

    def successor_of(self, stored: StoredHash) -> bytes:
        return bcrypt_input(self.text.decode()) if stored.digested else self.successor


def read(stored: str) -> StoredHash | None:
    """Return the hash in a stored text. Returns None if there is no bcrypt hash in it."""
    found = _STORED.fullmatch(stored)
    return StoredHash(found[2], int(found[3]), found[1] == "bcrypt_sha256$") if found else None


def bcrypt_input(password: str) -> bytes:
    """Return at most 72 bytes for the whole password; a short one as it is, so that old hashes hold.

    A password of exactly 72 bytes counts as long: an older bcrypt made the same hash of every longer one
    that begins with these bytes, so a plain hash of them is taken for a hash of those.
    """
    raw = normalise(password).encode()
    if len(raw) < BCRYPT_MAX_BYTES:
        return raw
    return base64.b64encode(hmac.digest(LONG_PASSWORD_LABEL, raw, hashlib.sha384))


def forms(password: str) -> list[Form]:
    """Return the forms of a password, today's first. How many there are, the password alone decides.

    A password of less than 72 bytes that is typed in NFC has one. Older versions did not normalise, and an
    older bcrypt cut off what was beyond 72 bytes.
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
    """Return the first 72 bytes, of which a hash goes on to be made. Returns None if the text is shorter.

    Such a hash does not tell what came after the 72 bytes, if anything did. A replacement made of the whole
    text would turn a typing mistake behind the 72 bytes into the password and lock the owner out, so the
    hash keeps to these bytes until the password is changed.
    """
    return text[:BCRYPT_MAX_BYTES] if len(text) >= BCRYPT_MAX_BYTES else None
