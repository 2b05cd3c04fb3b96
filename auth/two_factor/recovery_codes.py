"""Recovery codes: each works once in the place of an authenticator app that is lost. Pure.

A code is `3k7qx2-m9d2pt`: its index, a digit, and 55 random bits in the alphabet of Crockford's Base32, which
has no letters that look like digits. The index tells which hash a typed code is compared with.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

COUNT = 10
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_CHARACTERS = 11
GROUP_CHARACTERS = 6
MAX_TYPED_CHARACTERS = 64
_LOOK_ALIKES = str.maketrans("oil", "011")


@dataclass(frozen=True)
class RecoveryCode:
    """A code in its normal form, without its hyphen. index: 0 to COUNT - 1."""

    text: str = field(repr=False)

    @property
    def index(self) -> int:
        return int(self.text[0])

    def shown(self) -> str:
        """Return the code as its user sees it."""
        return f"{self.text[:GROUP_CHARACTERS]}-{self.text[GROUP_CHARACTERS:]}"

    def hash(self, *, user_id: int, key: bytes) -> bytes:
        """Return the keyed hash that is stored: a dump of the database without the key yields no code."""
        return hmac.digest(key, f"{user_id} {self.text}".encode(), "sha256")


def new(choose: Callable[[str], str]) -> list[RecoveryCode]:
    """Return COUNT new codes. choose: returns a random character of a text, such as secrets.choice."""
    return [
        RecoveryCode(f"{index}{''.join(choose(ALPHABET) for _ in range(RANDOM_CHARACTERS))}")
        for index in range(COUNT)
    ]


def parse(typed: str) -> RecoveryCode | None:
    """Return the code that was typed. Returns None if the text has not the form of one.

    Only letters and digits count, because a phone may replace the hyphen by a dash. Case does not count.
    Letters that look like a digit are that digit.
    """
    if len(typed) > MAX_TYPED_CHARACTERS:
        return None
    text = "".join(filter(str.isalnum, typed.lower())).translate(_LOOK_ALIKES)
    is_code = len(text) == 1 + RANDOM_CHARACTERS and text[0] in "0123456789" and set(text) <= set(ALPHABET)
    return RecoveryCode(text) if is_code else None
