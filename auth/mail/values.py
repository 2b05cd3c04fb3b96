"""What a mail tells: the values that its template shows. Pure."""

from auth.mail import names
from auth.mail.links import Letter

DAY_SECONDS, HOUR_SECONDS, MINUTE_SECONDS = 86400, 3600, 60


def of_letter(letter: Letter, *, frontend_url: str) -> dict[str, str]:
    """Return the values of a letter. What its user may have chosen as an advertisement is ""."""
    values = {
        "name": names.greeting_name(letter.user.first_name),
        "username": names.shown_username(letter.user.username),
        "frontend_url": frontend_url,
    }
    if letter.link:
        values |= {
            "link": letter.link,
            "expires": duration(letter.expires_seconds),
            "address": letter.recipient,
        }
    return letter.details | values


def duration(seconds: int) -> str:
    """Return a duration as a mail tells it, rounded down: "24 hours". seconds: at least 60."""
    units = {"days": DAY_SECONDS, "hours": HOUR_SECONDS, "minutes": MINUTE_SECONDS}
    for unit, length in units.items():
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return "1 minute"
