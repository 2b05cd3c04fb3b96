"""The form of a registration: what the route works with, and every problem at once."""

from typing import Any

import pytest

from tests.support.forms import registration, registration_problems


def test_registration_strips_and_lower_cases() -> None:
    form = registration(username="\tAda ", email=" ADA@Example.COM\n", first_name=" Ada ", last_name=" ")

    assert (form.username, form.email) == ("Ada", "ada@example.com")
    assert (form.first_name, form.last_name) == ("Ada", None)


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
    assert registration_problems(**changes) == fields


def test_registration_says_everything_that_is_wrong() -> None:
    fields = registration_problems(username="", email="", password="", first_name=1, lastName=2, x="\0")

    assert list(fields) == ["body", "username", "email", "password", "first_name", "lastName"]


def test_registration_does_not_show_its_password() -> None:
    assert "correct horse" not in repr(registration())
