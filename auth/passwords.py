"""Passwords: bcrypt hashes, equal work for every refusal, and a bounded number of runs at once."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flask_bcrypt import Bcrypt

from auth import stored_hashes
from auth.errors import ApiError
from auth.fields import MAX_TYPED_CHARACTERS
from auth.stored_hashes import Form, StoredHash
from runtime.bulkhead import Bulkhead, Full, SharedPlaces

WAIT_SECONDS = 10.0

log = logging.getLogger("auth")


class PasswordHasher:
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
            return self._generate(stored_hashes.bcrypt_input(password))

    def verify(self, password: str, stored: str | None) -> bool:
        """Return whether `stored` is a hash of `password`; None stands for the hash of nobody.

        Whatever the reason for a False, it took the work of one run at the current cost for each form of
        the password, so its time does not tell who has an account; a hash of more rounds than configured
        takes its own, longer time. Raises ApiError `busy`.
        """
        if len(password) > MAX_TYPED_CHARACTERS:  # nobody's; its forms would take too long to make
            password, stored = "", None
        forms = stored_hashes.forms(password)
        hashed = None if stored is None else stored_hashes.read(stored)
        if stored is not None and hashed is None:
            log.error("stored_hash_damaged: a user cannot log in until the password is set anew")
        with self._slot():
            if hashed and self._matching(hashed, forms):
                return True
            for form in forms:
                self._equalise_time(hashed.rounds if hashed else None, form.secret)
        return False

    def rehash(self, password: str, stored: str) -> str | None:
        """Return a hash at the current cost, in today's form, to replace one that `password` has proven.

        None when `stored` is as good, or when no slot is free just now: the next login will do. The new
        hash has been verified.
        """
        hashed = stored_hashes.read(stored)
        if not hashed or hashed.rounds > self._rounds:
            return None
        forms = stored_hashes.forms(password)
        if hashed.rounds == self._rounds and hashed.is_of_today(stored):
            forms = [form for form in forms if form.successor != form.secret]
        if not forms:
            return None
        try:
            with self._slot(wait_seconds=0.0):
                form = self._matching(hashed, forms)
                return self._verified_hash(form.successor_of(hashed)) if form else None
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

    def _matching(self, hashed: StoredHash, forms: list[Form]) -> Form | None:
        """Return the form that `hashed` is a hash of."""
        return next((form for form in forms if self._matches(hashed.bcrypt, form.secret_for(hashed))), None)

    def _matches(self, bcrypt_hash: str, secret: bytes) -> bool:
        return bool(self._bcrypt.check_password_hash(bcrypt_hash, secret))

    def _verified_hash(self, secret: bytes) -> str | None:
        hashed = self._generate(secret)
        return hashed if self._matches(hashed, secret) else None

    def _equalise_time(self, spent: int | None, secret: bytes) -> None:
        """Spend what a failed run of `spent` rounds lacked: 2^r + 2^r + 2^(r+1) + ... + 2^(R-1) = 2^R."""
        if spent is None:
            self._matches(_dummy_hash(self._rounds), secret)
            return
        for rounds in range(spent, self._rounds):
            self._matches(_dummy_hash(rounds), secret)


def _dummy_hash(rounds: int) -> str:
    """Return a well-formed hash that no password has."""
    return f"$2b${rounds:02}$" + "." * 53
