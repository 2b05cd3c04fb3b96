"""One field of a body against its rule, read over the forms that have it."""

import sys
import unicodedata

import pytest

from auth.passwords import MAX_PASSWORD_CHARACTERS, MAX_TYPED_CHARACTERS
from tests.support.forms import problems, read_password_change, registration, registration_problems


@pytest.mark.parametrize(
    "email",
    [
        "a@b.c",
        "ada.lovelace@example.com",
        "ada+tag@example.co.uk",
        "!#$%&'*+/=?^_`{|}~-.@example.com",
        "a..b@example.com",
        ".a.@example.com",
        "1@2.3",
        "a@xn--bcher-kva.example",
        "a@a-b.c-d",
        "a@127.0.0.1",
    ],
)
def test_registration_takes_the_emails_that_browsers_take(email: str) -> None:
    assert registration(email=email).email == email


@pytest.mark.parametrize(
    "email",
    [
        "@example.com",
        "a@",
        "a@b",
        "a@.com",
        "a@b.",
        "a@b..c",
        "a@-b.com",
        "a@b-.com",
        "a@b.com-",
        "a b@example.com",
        "a@exa mple.com",
        "a@b@example.com",
        '"a b"@example.com',
        "a@[127.0.0.1]",
        "a@b.com\nbcc: c@d.e",
        "<a@b.com>",
        "a@b.com,c@d.com",
        "a(comment)@b.com",
        "a@b_c.com",
        "a\u00e4@b.com",
        "a@b\u3002com",
    ],
)
def test_registration_refuses_other_emails(email: str) -> None:
    assert registration_problems(email=email) == {"email": "Email must be an address like name@example.com."}


def test_registration_matches_a_long_bad_email_at_once() -> None:
    assert "email" in registration_problems(email="a@" + "a." * 126 + "!")


@pytest.mark.parametrize(("min_length", "password"), [(8, "x" * 8), (15, "x" * 15), (64, "x" * 64)])
def test_registration_takes_a_password_of_the_minimum_length(min_length: int, password: str) -> None:
    assert registration(password=password, min_length=min_length).password == password
    assert "password" in registration_problems(password=password[1:], min_length=min_length)


def test_registration_counts_the_characters_of_a_password_as_hashed() -> None:
    assert registration_problems(password="e\u0301" * 7) == {
        "password": "Password must be at least 8 characters long."
    }
    assert registration(password="e\u0301" * 256).password == "e\u0301" * 256


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("x" * 257, id="257 characters"),
        pytest.param("e\u0301" * 257, id="257 in NFC"),
        pytest.param("\u03b1\u0345\u0313\u0300" * 256 + "x", id="1025 typed"),
        pytest.param("a" + "\u0301\u0327" * 15_000, id="30,001 marks"),
    ],
)
def test_password_that_is_too_long_is_refused_at_its_field(password: str) -> None:
    sentence = "must be at most 256 characters long."

    assert registration_problems(password=password) == {"password": f"Password {sentence}"}
    body = {"current_password": password, "new_password": password}
    assert problems(read_password_change, body) == {"new_password": f"New password {sentence}"}


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("e\u0301" * 256, id="two for each"),
        pytest.param("\u03b1\u0345\u0313\u0300" * 256, id="four for each"),
    ],
)
def test_password_of_256_characters_in_nfc_is_taken_as_it_is_typed(password: str) -> None:
    assert registration(password=password).password == password


def test_no_character_is_composed_of_more_than_four() -> None:
    longest = max(len(unicodedata.normalize("NFD", chr(code))) for code in range(sys.maxunicode + 1))

    assert longest * MAX_PASSWORD_CHARACTERS == MAX_TYPED_CHARACTERS
