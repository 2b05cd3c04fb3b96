"""Time-based one-time passwords (RFC 6238) as authenticator apps make them: SHA-1, 6 digits, 30 s. Pure."""

import hmac

STEP_SECONDS = 30
DIGITS = 6
SECRET_BYTES = 20  # RFC 4226 section 4, R6
MAX_TYPED_CHARACTERS = 32


def code(secret: bytes, step: int) -> str:
    """Return the code of a time step (RFC 4226 section 5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def matching_step(secret: bytes, typed: str, *, now: float, window: int, after: int) -> int | None:
    """Return the time step whose code was typed. Returns None if there is none.

    now: seconds since the epoch. window: how many steps the code may be early or late. after: the step of the
    last code that was accepted: a code works once, and no earlier one works after it (replay, RFC 6238
    section 5.2). Blanks in the code do not count. If two steps have the typed code, the later one
    counts, so that the code works once.
    """
    if len(typed) > MAX_TYPED_CHARACTERS:
        return None
    digits = "".join(typed.split()).encode("utf-8", "surrogatepass")
    current = int(now) // STEP_SECONDS
    steps = range(max(0, current - window), current + window + 1)
    matching = [step for step in steps if hmac.compare_digest(code(secret, step).encode(), digits)]
    return matching[-1] if matching and matching[-1] > after else None
