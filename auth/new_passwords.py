"""What a new password may not be, beside too short or too long: an attacker's first guess.

Every feature in which a user chooses a password asks here.
"""

from auth.passwords import normalise
from config import Settings
from runtime import common_passwords

COMMON = "This password is among the most common ones, which attackers try first. Choose another one."
OWN_NAME = "The password must not be the username, the email or the part of the email before the @."


def weakness(password: str, *, username: str, email: str, settings: Settings) -> str | None:
    """Return the sentence why a user may not choose a password. Returns None if the user may.

    Letter case makes no difference, nor does the Unicode form (ASVS 5.0 6.2.4, NIST SP 800-63B-4 section
    3.1.1.2). password: of a length that `BodyReader.new_password` accepts.
    """
    if not settings.password_blocklist:
        return None
    folded = normalise(password).casefold()
    # Names of earlier versions may have blanks at the end.
    if folded in {name.strip().casefold() for name in (username, email, email.rpartition("@")[0])}:
        return OWN_NAME
    return COMMON if common_passwords.contains(folded) else None
