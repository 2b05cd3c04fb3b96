"""When a mail is tried again, and when the sender gives it up. Pure."""

GIVEN_UP_SECONDS = 24 * 3600
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 30.0, 3600.0
MAX_OUTAGE_PAUSE_SECONDS = 60.0


def pause_seconds(age_seconds: float, *, jitter: float) -> float:
    """Return the seconds until a mail is tried again. A pause as long as the age doubles from try to try.

    jitter: about 1, at random, so that mails which failed together are not tried together.
    """
    return jitter * min(max(MIN_PAUSE_SECONDS, age_seconds), MAX_PAUSE_SECONDS)


def outage_seconds(failures: int, *, jitter: float) -> float:
    """Return the seconds until a mail server that fails every mail is tried again.

    failures: in a row, this one included. jitter: about 1, at random.
    """
    return jitter * min(2.0 ** min(failures, 10), MAX_OUTAGE_PAUSE_SECONDS)


def is_too_old(age_seconds: float) -> bool:
    """Return whether a mail that fails now is given up."""
    return age_seconds >= GIVEN_UP_SECONDS
