"""Passwords: bcrypt hashes, equal work for every refusal, and a bounded number of runs at once."""

import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flask_bcrypt import Bcrypt

from auth.errors import ApiError
from auth.fields import MAX_TYPED_CHARACTERS, normalise
from bulkhead import Bulkhead, Full, SharedPlaces

WAIT_SECONDS = 10.0
BCRYPT_MAX_BYTES = 72
# Separates these digests from any other use of SHA-384 on passwords, such as a leaked list of plain ones.
LONG_PASSWORD_LABEL = b"user-service long password v1"

log = logging.getLogger("auth")


class Passwords:
    """Hashes and verifies passwords.

    At most `running` bcrypt runs go on at once, `waiting` more callers wait for up to WAIT_SECONDS;
    anybody else gets ApiError `busy`. bcrypt takes a quarter of a second of CPU: a queue without an end
    would take every thread from the requests that need none. shared: the slots of all workers together.
    """

    def __init__(
        self,
        bcrypt: Bcrypt,
        *,
        rounds: int,
        running: int,
        waiting: int,
        shared: SharedPlaces | None = None,
    ) -> None:
        self._bcrypt = bcrypt
        self._rounds = rounds
        self._slots = Bulkhead(running=running, waiting=waiting)
        self._shared = shared

    def hash(self, password: str) -> str:
        """Return the hash to store. Raises ApiError `busy`."""
        with self._slot():
            return self._generate(_bcrypt_input(password))

    def verify(self, password: str, stored: str | None) -> bool:
        """Return whether `stored` is a hash of `password`; None stands for the hash of nobody.

        Whatever the reason for a False, it took the work of one run at the current cost, so its time
        does not tell who has an account; a hash of more rounds than configured takes its own, longer
        time. Raises ApiError `busy`.
        """
        if len(password) > MAX_TYPED_CHARACTERS:  # nobody's; normalising it would take too long
            password, stored = "", None
        secret = _bcrypt_input(password)
        with self._slot():
            matches = None if stored is None else self._matches(stored, secret)
            if not matches:
                self._make_up_for(_rounds_of(stored) if stored and matches is False else None, secret)
        return bool(matches)

    def rehash(self, password: str, stored: str) -> str | None:
        """Return a hash at the current cost of a password that `stored` is a weaker hash of.

        None when `stored` is strong enough, or when no slot is free just now: the next login will do.
        The new hash has been verified.
        """
        if _rounds_of(stored) >= self._rounds:
            return None
        secret = _bcrypt_input(password)
        try:
            with self._slot(wait_seconds=0.0):
                hashed = self._generate(secret)
                return hashed if self._matches(hashed, secret) else None
        except ApiError:
            return None

    def _generate(self, secret: bytes) -> str:
        hashed: bytes = self._bcrypt.generate_password_hash(secret)
        return hashed.decode("ascii")

    @contextmanager
    def _slot(self, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        until = time.monotonic() + wait_seconds
        with ExitStack() as stack:
            try:
                self._slots.enter(until=until)
                stack.callback(self._slots.leave)
                if self._shared:
                    stack.callback(self._shared.leave, self._shared.enter(until=until))
            except Full:
                raise ApiError("busy", log_message="hash_slots_busy: too many logins at once") from None
            yield

    def _matches(self, stored: str, secret: bytes) -> bool | None:
        """Return None, with no work done, when `stored` is no bcrypt hash."""
        try:
            return bool(self._bcrypt.check_password_hash(stored, secret))
        except ValueError:
            log.error("stored_hash_damaged: a user cannot log in until the password is set anew")
            return None

    def _make_up_for(self, spent: int | None, secret: bytes) -> None:
        """Spend what a failed run of `spent` rounds lacked: 2^r + 2^r + 2^(r+1) + ... + 2^(R-1) = 2^R."""
        if spent is None:
            self._bcrypt.check_password_hash(_decoy(self._rounds), secret)
            return
        for rounds in range(spent, self._rounds):
            self._bcrypt.check_password_hash(_decoy(rounds), secret)


def _bcrypt_input(password: str) -> bytes:
    """Return at most 72 bytes for the whole password; a short one as it is, so that old hashes hold."""
    raw = normalise(password).encode()
    if len(raw) <= BCRYPT_MAX_BYTES:
        return raw
    return base64.b64encode(hmac.digest(LONG_PASSWORD_LABEL, raw, hashlib.sha384))


def _decoy(rounds: int) -> str:
    """Return a well-formed hash that no password has."""
    return f"$2b${rounds:02}$" + "." * 53


def _rounds_of(stored: str) -> int:
    """Return the rounds of a hash that bcrypt could read, such as "$2b$12$..."."""
    return int(stored.split("$")[2])
