"""From decoded JSON to what routes work with."""

import json
import sys
import unicodedata
from typing import Any

import pytest

from auth import validation
from auth.errors import ApiError
from auth.fields import MAX_PASSWORD_CHARACTERS, MAX_TYPED_CHARACTERS

ADA = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}


def registration(*, min_length: int = 8, **changes: object) -> validation.Registration:
    return validation.registration(ADA | changes, password_min_length=min_length)


def problems(*, min_length: int = 8, **changes: object) -> dict[str, str]:
    """Return what is wrong with a registration that has `changes`."""
    with pytest.raises(ApiError) as caught:
        registration(min_length=min_length, **changes)
    assert caught.value.code == "validation_failed"
    return caught.value.fields or {}


def login_problems(body: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ApiError) as caught:
        validation.login(body)
    assert caught.value.code == "validation_failed"
    return caught.value.fields or {}


def test_parse_object_returns_the_object() -> None:
    raw = ' {"a": [1, 2.5, null, true], "\u00e9": "\\ud83d\\ude00"} '.encode()

    assert validation.parse_object(raw) == {"a": [1, 2.5, None, True], "\u00e9": "\U0001f600"}


def test_parse_object_takes_a_thousand_keys() -> None:
    body = {"objects": [{"name": number} for number in range(997)], "a": {"b": 1}}

    assert validation.parse_object(json.dumps(body).encode()) == body
    with pytest.raises(ApiError) as caught:
        validation.parse_object(json.dumps(body | {"c": 1}).encode())
    assert (caught.value.code, caught.value.sentence) == (
        "invalid_json",
        "The request body has more than 1000 keys.",
    )


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b'{"a":1,"a":1}', b'{"a":NaN}', b"[" * 60_000, b"\xff"])
def test_parse_object_refuses_anything_else(raw: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        validation.parse_object(raw)

    assert caught.value.code == "invalid_json"


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
    assert problems(email=email) == {"email": "Email must be an address like name@example.com."}


def test_registration_matches_a_long_bad_email_at_once() -> None:
    assert "email" in problems(email="a@" + "a." * 126 + "!")


def test_registration_strips_and_lower_cases() -> None:
    found = registration(username="\tAda ", email=" ADA@Example.COM\n", first_name=" Ada ", last_name=" ")

    assert (found.username, found.email) == ("Ada", "ada@example.com")
    assert (found.first_name, found.last_name) == ("Ada", None)


def test_registration_leaves_the_password_as_it_is() -> None:
    assert registration(password="  Correct Horse\n").password == "  Correct Horse\n"


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        pytest.param({"username": None}, {"username": "Username is required."}, id="no username"),
        pytest.param({"username": 1}, {"username": "Username must be a string."}, id="username of digits"),
        pytest.param({"email": ""}, {"email": "Email is required."}, id="no email"),
        pytest.param(
            {"email": "x" * 244 + "@example.com"},
            {"email": "Email must be at most 255 characters long."},
            id="long email",
        ),
        pytest.param({"password": None}, {"password": "Password is required."}, id="no password"),
        pytest.param(
            {"password": "x" * 7},
            {"password": "Password must be at least 8 characters long."},
            id="short password",
        ),
        pytest.param(
            {"password": "x" * 257},
            {"password": "Password must be at most 256 characters long."},
            id="long password",
        ),
        pytest.param(
            {"firstName": 1}, {"firstName": "First name must be a string."}, id="firstName of digits"
        ),
        pytest.param(
            {"last_name": "x" * 101},
            {"last_name": "Last name must be at most 100 characters long."},
            id="long last name",
        ),
    ],
)
def test_registration_says_what_is_wrong(changes: dict[str, Any], fields: dict[str, str]) -> None:
    assert problems(**changes) == fields


def test_registration_says_everything_that_is_wrong() -> None:
    found = problems(username="", email="", password="", first_name=1, lastName=2, x="\0")

    assert list(found) == ["body", "username", "email", "password", "first_name", "lastName"]


@pytest.mark.parametrize(("min_length", "password"), [(8, "x" * 8), (15, "x" * 15), (64, "x" * 64)])
def test_registration_takes_a_password_of_the_minimum_length(min_length: int, password: str) -> None:
    assert registration(password=password, min_length=min_length).password == password
    assert "password" in problems(password=password[1:], min_length=min_length)


def test_registration_counts_the_characters_of_a_password_as_hashed() -> None:
    assert problems(password="e\u0301" * 7) == {"password": "Password must be at least 8 characters long."}
    assert registration(password="e\u0301" * 256).password == "e\u0301" * 256


def test_registration_does_not_show_its_password() -> None:
    assert "correct horse" not in repr(registration())


@pytest.mark.parametrize(
    ("body", "login"),
    [
        pytest.param({"email": "ada@x.io"}, "ada@x.io", id="email"),
        pytest.param({"username": "ada"}, "ada", id="username"),
        pytest.param({"email": "ada@x.io", "username": "bob"}, "ada@x.io", id="both, the email counts"),
        pytest.param({"email": "", "username": "ada"}, "ada", id="empty email"),
        pytest.param({"email": " \n", "username": "ada"}, "ada", id="blank email"),
        pytest.param({"email": None, "username": " ada "}, " ada ", id="null email, as it was typed"),
        pytest.param({"email": "x" * 60_000}, "x" * 60_000, id="very long"),
        pytest.param({"username": "\u212a '; --"}, "\u212a '; --", id="odd characters"),
    ],
)
def test_login_is_the_email_or_else_the_username(body: dict[str, Any], login: str) -> None:
    found = validation.login(body | {"password": " x "})

    assert (found.login, found.password) == (login, " x ")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param({}, ["email", "password"], id="nothing"),
        pytest.param({"password": "x"}, ["email"], id="no login"),
        pytest.param({"email": " ", "username": "\t", "password": "x"}, ["email"], id="blank logins"),
        pytest.param({"username": "ada"}, ["password"], id="no password"),
        pytest.param({"username": "ada", "password": ""}, ["password"], id="empty password"),
        pytest.param({"username": "ada", "password": None}, ["password"], id="null password"),
        pytest.param({"username": "ada", "password": 1}, ["password"], id="number as password"),
        pytest.param({"email": ["a"], "username": "ada", "password": "x"}, ["email"], id="list as email"),
        pytest.param({"username": "a\0", "email": "a", "password": "x"}, ["username"], id="NUL"),
        pytest.param({"username": "ada", "password": "\ud800"}, ["password"], id="lone surrogate"),
    ],
)
def test_login_without_a_credential_is_refused(body: dict[str, Any], fields: list[str]) -> None:
    assert list(login_problems(body)) == fields


def test_login_does_not_show_its_password() -> None:
    assert "hunter2" not in repr(validation.login({"email": "a", "password": "hunter2"}))


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

    assert problems(password=password) == {"password": f"Password {sentence}"}
    body = {"current_password": password, "new_password": password}
    with pytest.raises(ApiError) as caught:
        validation.password_change(body, password_min_length=8)
    assert caught.value.fields == {"new_password": f"New password {sentence}"}


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


def test_password_change_with_an_endless_current_password_is_read() -> None:
    body = {"current_password": "x" * 60_000, "new_password": "battery staple"}

    change = validation.password_change(body, password_min_length=8)

    assert (change.current_password, change.new_password) == ("x" * 60_000, "battery staple")
