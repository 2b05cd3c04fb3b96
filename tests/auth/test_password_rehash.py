"""Hashes of older forms: still verified, and replaced at the next login."""

import hashlib
import time

import bcrypt as library
import pytest

from auth.passwords import PasswordHasher
from auth.stored_hashes import bcrypt_input
from tests.support import PASSWORD
from tests.support.hashing import hash_of, hasher_of


def sha256_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).hexdigest().encode()


def stored_as(wrapped: str, secret: bytes, rounds: int = 4) -> str:
    return wrapped.format(library.hashpw(secret, library.gensalt(rounds)).decode())


OLDER = [
    pytest.param("cafe\u0301 au lait", "{}", "cafe\u0301 au lait".encode(), id="not NFC"),
    pytest.param("e\u0301" * 23, "{}", ("e\u0301" * 23).encode(), id="69 bytes, not NFC"),
    pytest.param(PASSWORD, "bcrypt${}", PASSWORD.encode(), id="Django bcrypt"),
    pytest.param(PASSWORD, "bcrypt_sha256${}", sha256_of(PASSWORD), id="Django SHA-256"),
    pytest.param("x" * 200, "bcrypt_sha256${}", sha256_of("x" * 200), id="Django SHA-256, long"),
    pytest.param("e\u0301" * 99, "bcrypt_sha256${}", sha256_of("e\u0301" * 99), id="Django SHA-256, not NFC"),
    pytest.param(PASSWORD, "{{BLF-CRYPT}}{}", PASSWORD.encode(), id="Dovecot"),
    pytest.param(PASSWORD, "{}\r\n", PASSWORD.encode(), id="line end"),
    pytest.param(PASSWORD, "{}    ", PASSWORD.encode(), id="blanks"),
]
LONG = "x" * 70 + "\u00e9" * 20
# What bcrypt read of a password before its version 5: the first 72 bytes.
CUT_OFF = [
    pytest.param(LONG, LONG.encode()[:72], id="between characters"),
    pytest.param("x" * 71 + "\u00e9", ("x" * 71 + "\u00e9").encode()[:72], id="within a character"),
    pytest.param("e\u0301" * 25, ("e\u0301" * 25).encode()[:72], id="not NFC"),
    pytest.param("x" * 72, b"x" * 72, id="72 bytes, which may be all"),
    pytest.param("e\u0301" * 24, ("e\u0301" * 24).encode(), id="72 bytes, not NFC"),
    pytest.param("e\u0301" * 99, ("\u00e9" * 99).encode()[:72], id="cut off in NFC"),
]


@pytest.fixture
def passwords() -> PasswordHasher:
    return hasher_of()


@pytest.mark.parametrize(
    "password", [PASSWORD, "x" * 73, "cafe\u0301 au lait"], ids=["short", "73 bytes", "not NFC"]
)
def test_rehash_of_a_weaker_hash_is_one_of_the_current_cost(password: str) -> None:
    passwords = hasher_of(5)

    stronger = passwords.rehash(password, hash_of(password, 4))

    assert stronger is not None
    assert stronger.startswith("$2b$05$")
    assert passwords.verify(password, stronger)


@pytest.mark.parametrize(("password", "wrapped", "secret"), OLDER)
def test_hash_of_an_older_form_is_verified_and_replaced_by_todays(
    passwords: PasswordHasher, password: str, wrapped: str, secret: bytes
) -> None:
    stored = stored_as(wrapped, secret)

    assert passwords.verify(password, stored)
    assert not passwords.verify(password + "x", stored)
    replaced = passwords.rehash(password, stored)

    assert replaced is not None
    assert library.checkpw(bcrypt_input(password), replaced.encode())
    assert passwords.rehash(password, replaced) is None


@pytest.mark.parametrize("prefix", ["$2a$", "$2y$"])
def test_hash_of_an_older_bcrypt_is_replaced(passwords: PasswordHasher, prefix: str) -> None:
    replaced = passwords.rehash(PASSWORD, prefix + hash_of(PASSWORD, 4)[4:])

    assert replaced is not None
    assert replaced.startswith("$2b$04$")


@pytest.mark.parametrize(("password", "secret"), CUT_OFF)
def test_hash_that_an_older_bcrypt_cut_off_is_verified(
    passwords: PasswordHasher, password: str, secret: bytes
) -> None:
    stored = stored_as("{}", secret)

    assert passwords.verify(password, stored)
    assert not passwords.verify("y" + password[1:], stored)


@pytest.mark.parametrize(("password", "secret"), CUT_OFF)
@pytest.mark.parametrize("wrapped", ["{}", "bcrypt${}", "{}\n"])
def test_hash_that_was_cut_off_is_strengthened_but_keeps_to_its_bytes(
    password: str, secret: bytes, wrapped: str
) -> None:
    passwords = hasher_of(5)

    stronger = passwords.rehash(password, stored_as(wrapped, secret))

    assert stronger is not None
    assert stronger.startswith("$2b$05$")
    assert library.checkpw(secret, stronger.encode())
    assert passwords.rehash(password, stronger) is None


def test_typing_mistake_behind_72_bytes_locks_nobody_out(passwords: PasswordHasher) -> None:
    owner = "x" * 72
    stored = stored_as("{}", owner.encode())

    assert passwords.verify(owner + " oops", stored)
    after = hasher_of(5).rehash(owner + " oops", stored)

    assert after is not None
    assert passwords.verify(owner, after)


def test_rehash_with_another_password_is_none(passwords: PasswordHasher) -> None:
    assert passwords.rehash("wrong", "bcrypt$" + hash_of(PASSWORD, 4)) is None


def test_rehash_never_weakens() -> None:
    assert hasher_of(4).rehash(PASSWORD, "bcrypt$" + hash_of(PASSWORD, 5)) is None


@pytest.mark.parametrize("rounds", [5, 6])
def test_rehash_of_a_strong_hash_is_none(rounds: int) -> None:
    assert hasher_of(5).rehash(PASSWORD, hash_of(PASSWORD, rounds)) is None


def test_rehash_without_a_free_slot_is_none_at_once() -> None:
    started = time.monotonic()

    assert hasher_of(5, running=0, waiting=1).rehash(PASSWORD, hash_of(PASSWORD, 4)) is None
    assert time.monotonic() - started < 1
