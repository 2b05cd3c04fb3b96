"""What an authenticator app reads: the key URI of a secret, and the URI as a QR code. Pure.

The rules of the URI: https://github.com/google/google-authenticator/wiki/Key-Uri-Format
"""

import base64
import io
from urllib.parse import quote, urlencode

from auth.two_factor.totp import DIGITS, STEP_SECONDS

MAX_ACCOUNT_BYTES = 64  # a QR code of a longer URI has modules too small for a camera
QUIET_ZONE = 4  # modules of white around a QR code (ISO/IEC 18004)


def as_text(secret: bytes) -> str:
    """Return a secret as a user types it into an app: Base32 without padding."""
    return base64.b32encode(secret).decode("ascii").rstrip("=")


def key_uri(secret: bytes, *, issuer: str, account: str) -> str:
    """Return the URI of a secret. issuer: see runtime.two_factor_settings.

    account: the user as the app shows it, without colons, cut off after MAX_ACCOUNT_BYTES. Apps need a name
    after the colon of the label: the issuer stands there if the account is blank.
    """
    name = account.replace(":", " ").encode("utf-8")[:MAX_ACCOUNT_BYTES].decode("utf-8", "ignore").strip()
    label = f"{issuer}:{name or issuer}"
    parameters = {
        "secret": as_text(secret),
        "issuer": issuer,
        "algorithm": "SHA1",
        "digits": DIGITS,
        "period": STEP_SECONDS,
    }
    # Apps show a plus sign as it is, so that a blank is %20.
    return f"otpauth://totp/{quote(label, safe=':')}?{urlencode(parameters, quote_via=quote)}"


def qr_svg(uri: str) -> str:
    """Return a URI as a QR code: an SVG document that takes the size of its place."""
    import segno  # here, not above: it takes 1 MB, and most workers draw no QR code

    svg = io.BytesIO()
    qr_code = segno.make_qr(uri, error="m")
    qr_code.save(
        svg,
        kind="svg",
        border=QUIET_ZONE,
        light="#fff",  # a scanner reads no QR code on a dark page
        omitsize=True,
        xmldecl=False,
        nl=False,
        svgclass=None,
        lineclass=None,
    )
    return svg.getvalue().decode("utf-8")
