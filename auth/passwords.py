"""Passwords: their normal form, bcrypt hashes, equal work for every refusal, and a bounded number of runs."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from auth import stored_hashes
from auth.stored_hashes import MAX_PASSWORD_CHARACTERS as MAX_PASSWORD_CHARACTERS
from auth.stored_hashes import MAX_TYPED_CHARACTERS as MAX_TYPED_CHARACTERS
from auth.stored_hashes import Form, StoredHash
from auth.stored_hashes import normalise as normalise
from runtime.bulkhead import Bulkhead, Full
from runtime.shared_places import SharedPlaces

if TYPE_CHECKING:
    from flask_bcrypt import Bcrypt

WAIT_SECONDS = 10.0

log = logging.getLogger("auth")


class Busy(Exception):
    """Every hash slot stayed in use for as long as a request may wait, or too many requests wait for one."""


class PasswordHasher:
    """Hashes and verifies passwords.

    At most `running` bcrypt runs go on at once, and `waiting` more callers wait for up to WAIT_SECONDS. Every
    further caller gets Busy. bcrypt takes a quarter of a second of CPU: a queue without an end would take
    every thread from the requests that need no hash. shared: the slots of all workers together.
    """

    def __init__(
        self,
        bcrypt: "Bcrypt",
        *,
        rounds: int,
        running: int,
        waiting: int,
        shared: SharedPlaces | None = None,
    ) -> None:
        self._bcrypt = bcrypt
        self._rounds = rounds
        self._slots = shared or Bulkhead(running=running, waiting=waiting)

    def hash(self, password: str) -> str:
        """Return the hash to store. Raises Busy."""
        with self._slot():
            return self._generate(stored_hashes.bcrypt_input(password))

    def verify(self, password: str, stored: str | None) -> bool:
        """Return whether `stored` is a hash of `password`. None stands for a user who does not exist.

        Each False costs one bcrypt run at the configured rounds for each form of the password, whatever its
        reason, so that response time does not reveal which accounts exist. A stored hash of more rounds than
        configured takes its own, longer time. Raises Busy.
        """
        if len(password) > MAX_TYPED_CHARACTERS:  # nobody has it, and normalising it would take too long
            password, stored = "", None
        forms = stored_hashes.forms(password)
        stored_hash = None if stored is None else stored_hashes.read(stored)
        if stored is not None and stored_hash is None:
            log.error("stored_hash_damaged: a user cannot log in until the password is set anew")
        with self._slot():
            if stored_hash and self._matching_form(stored_hash, forms):
                return True
            for form in forms:
                self._equalise_time(stored_hash.rounds if stored_hash else None, form.secret)
        return False

    def rehash(self, password: str, stored: str) -> str | None:
        """Return a new hash at the configured rounds, in today's form, for a password that was just proved.

        Returns None if `stored` is as strong, or if every hash slot is in use: the next login tries again.
        The new hash has been verified.
        """
        stored_hash = stored_hashes.read(stored)
        if not stored_hash or stored_hash.rounds > self._rounds:
            return None
        forms = stored_hashes.forms(password)
        if stored_hash.rounds == self._rounds and stored_hash.is_of_today(stored):
            forms = [form for form in forms if form.successor != form.secret]
        if not forms:
            return None
        try:
            with self._slot(wait_seconds=0.0):
                form = self._matching_form(stored_hash, forms)
                return self._verified_hash(form.successor_of(stored_hash)) if form else None
        except Busy:
            return None

    def _generate(self, secret: bytes) -> str:
        bcrypt_hash: bytes = self._bcrypt.generate_password_hash(secret)
        return bcrypt_hash.decode("ascii")

    @contextmanager
    def _slot(self, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Hold a hash slot: one of all processes, or of this one if it serves alone. Raises Busy."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._slots.hold(until=time.monotonic() + wait_seconds))
            except Full:
                raise Busy from None
            yield

    def _matching_form(self, stored_hash: StoredHash, forms: list[Form]) -> Form | None:
        """Return the form that was hashed. Returns None if `stored_hash` is a hash of another password."""
        for form in forms:
            if self._matches(stored_hash.bcrypt, form.secret_for(stored_hash)):
                return form
        return None

    def _matches(self, bcrypt_hash: str, secret: bytes) -> bool:
        return bool(self._bcrypt.check_password_hash(bcrypt_hash, secret))

    def _verified_hash(self, secret: bytes) -> str | None:
        bcrypt_hash = self._generate(secret)
        return bcrypt_hash if self._matches(bcrypt_hash, secret) else None

    def _equalise_time(self, rounds_done: int | None, secret: bytes) -> None:
        """Do the work that a failed check left out: response time must not reveal which accounts exist.

        A check at r rounds costs 2**r. After one at r < R (the configured rounds), further checks at r, r+1,
        ..., R-1 bring the total to 2**R. rounds_done: None if no check ran (unknown user, damaged hash).
        """
        if rounds_done is None:
            self._matches(_dummy_hash(self._rounds), secret)
            return
        for rounds in range(rounds_done, self._rounds):
            self._matches(_dummy_hash(rounds), secret)


def _dummy_hash(rounds: int) -> str:
    """Return a well-formed hash that no password has."""
    return f"$2b${rounds:02}$" + "." * 53
