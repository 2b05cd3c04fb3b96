"""Hashing and verifying passwords: their forms and lengths, and damaged hashes."""

from typing import Any

import bcrypt as library
import pytest

from auth.passwords import PasswordHasher, normalise
from tests.support import PASSWORD
from tests.support.hashing import DAMAGED, hasher_of


@pytest.fixture
def passwords() -> PasswordHasher:
    return hasher_of()


def test_hash_is_bcrypt_at_the_cost(passwords: PasswordHasher) -> None:
    hashed = passwords.hash(PASSWORD)

    assert hashed.startswith("$2b$04$")
    assert len(hashed) == 60


def test_hash_of_a_short_password_is_plain_bcrypt(passwords: PasswordHasher) -> None:
    for password in (PASSWORD, "x" * 71, "\u00e9" * 35):
        assert library.checkpw(password.encode(), passwords.hash(password).encode())


def test_hash_is_salted(passwords: PasswordHasher) -> None:
    assert passwords.hash(PASSWORD) != passwords.hash(PASSWORD)


def test_verify_takes_an_existing_hash() -> None:
    # Made by bcrypt itself, as an earlier version did.
    stored = library.hashpw(PASSWORD.encode(), library.gensalt(4)).decode()

    for prefix in ("$2b$", "$2a$", "$2y$"):
        assert hasher_of().verify(PASSWORD, prefix + stored[4:])


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("x" * 71, id="71 bytes"),
        pytest.param("x" * 72, id="72 bytes"),
        pytest.param("x" * 73, id="73 bytes"),
        pytest.param("x" * 256, id="256 bytes"),
        pytest.param("\U0001f512" * 256, id="1024 bytes"),
        pytest.param("x" * 1023, id="1023 bytes"),
    ],
)
def test_verify_reads_the_whole_password(passwords: PasswordHasher, password: str) -> None:
    stored = passwords.hash(password)

    assert passwords.verify(password, stored)
    assert not passwords.verify(password[:-1], stored)
    assert not passwords.verify(password + "x", stored)
    assert not passwords.verify(password[:-1] + "y", stored)
    assert not passwords.verify("y" + password[1:], stored)


def test_hash_of_a_long_password_is_that_of_its_labelled_digest(passwords: PasswordHasher) -> None:
    # base64(HMAC-SHA-384("user-service long password v1", 73 times "x")), from OpenSSL.
    digest = b"f2+69wbAHokHz8mxNU1vwjPqd6VLtb74aD3erYi+APVTKDZpvrYaiBdGRveiwFOX"

    assert library.checkpw(digest, passwords.hash("x" * 73).encode())


def test_normalise_composes() -> None:
    assert normalise("e\u0301") == "\u00e9"
    assert normalise("\u212b") == "\u00c5"
    assert normalise("\ufb01") == "\ufb01"


def test_verify_takes_every_form_of_the_same_text(passwords: PasswordHasher) -> None:
    assert passwords.verify("cafe\u0301 au lait", passwords.hash("caf\u00e9 au lait"))
    assert passwords.verify("caf\u00e9 au lait", passwords.hash("cafe\u0301 au lait"))


def test_verify_tells_case_and_space_apart(passwords: PasswordHasher) -> None:
    stored = passwords.hash(PASSWORD)

    for other in (PASSWORD.upper(), f" {PASSWORD}", f"{PASSWORD} ", ""):
        assert not passwords.verify(other, stored)


@pytest.mark.parametrize("stored", [None, *DAMAGED])
def test_verify_without_a_usable_hash_is_false(passwords: PasswordHasher, stored: str | None) -> None:
    assert passwords.verify(PASSWORD, stored) is False


@pytest.mark.parametrize("stored", DAMAGED)
def test_damaged_hash_is_logged_but_not_shown(
    passwords: PasswordHasher, stored: str, log_lines: list[dict[str, Any]]
) -> None:
    passwords.verify("something else", stored)

    assert [line["level"] for line in log_lines] == ["ERROR"]
    assert log_lines[0]["message"].startswith("stored_hash_damaged")
    assert len(stored) < 5 or stored not in str(log_lines)


def test_wrong_password_logs_nothing_of_a_damaged_hash(
    passwords: PasswordHasher, log_lines: list[dict[str, Any]]
) -> None:
    passwords.verify("wrong", passwords.hash(PASSWORD))

    assert log_lines == []
