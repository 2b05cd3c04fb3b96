"""The settings of the second factor, a group of config.py. Pure."""

from dataclasses import dataclass

from runtime.declarations import setting
from runtime.settings import WholeNumber, switch

# The issuer stands twice in a key URI, with three characters for each byte outside of ASCII.
MAX_ISSUER_BYTES = 64
_ISSUER_RULE = (
    f"must be a name of printable characters without a colon, of 1 to {MAX_ISSUER_BYTES} bytes in UTF-8"
)


def issuer(raw: str) -> str:
    """Return a name that stands before a colon in a key URI."""
    if not raw.isprintable() or ":" in raw or not 1 <= len(raw.encode("utf-8")) <= MAX_ISSUER_BYTES:
        raise ValueError(_ISSUER_RULE)
    return raw


@dataclass(frozen=True)
class TwoFactorSettings:
    """The settings of the second factor. Settings.two_factor is None while TWO_FACTOR is off."""

    two_factor: bool = setting(
        switch,
        default=True,
        help="Whether a user may have a second factor, and is asked for it. Off: nobody is asked, and the"
        " second factors that users have count again when it is on.",
    )
    totp_window: int = setting(
        WholeNumber(0, 2),
        default=1,
        help="How many time steps of 30 s a code of an authenticator app may be early or late.",
    )
    totp_issuer: str = setting(
        issuer,
        default="Streamly",
        help="The name of the service in authenticator apps.",
    )
