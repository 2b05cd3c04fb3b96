"""The cookie by which a browser is a known device of a user: signed, and good for nothing else.

Attack (denial of service): somebody guesses a password until the limit refuses everybody, also the user. A
device that has logged in before has a budget of its own.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

NAME = "device"
# Over HTTPS. Browsers take the prefix over HTTPS only, and no other host of the domain can set such a cookie
# (RFC 6265bis section 4.1.3.2).
SECURE_NAME = f"__Host-{NAME}"
NAMES = (NAME, SECURE_NAME)
MAX_AGE_SECONDS = 180 * 24 * 3600
ID_BYTES = 16

_VALUE = re.compile(r"([1-9][0-9]{0,18})\.([0-9a-f]{32})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Device:
    """A device of a user. id: random, in hexadecimal digits."""

    user_id: int
    id: str


def new(user_id: int, *, random: bytes) -> Device:
    """Return a device that was unknown until now. random: ID_BYTES bytes."""
    return Device(user_id, random.hex())


def sign(device: Device, *, key: str, now: float) -> str:
    """Return the value of the cookie. now: seconds since the epoch."""
    payload = f"{device.user_id}.{device.id}.{int(now)}"
    return f"{payload}.{_signature(payload, key)}"


def check(value: str, *, user_id: int, key: str, now: float) -> Device | None:
    """Return the device of the user that a cookie names.

    Returns None for a cookie of another user, one that is older than MAX_AGE_SECONDS, and a forged one.
    """
    parts = _VALUE.fullmatch(value)
    if not parts or int(parts[1]) != user_id or int(parts[3]) + MAX_AGE_SECONDS <= now:
        return None
    payload = value.rpartition(".")[0]
    if not hmac.compare_digest(parts[4], _signature(payload, key)):
        return None
    return Device(user_id, parts[2])


def _signature(payload: str, key: str) -> str:
    # Domain separation: the label keeps the signature apart from all others that are made with the key.
    digest = hmac.digest(key.encode(), b"device cookie" + payload.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
