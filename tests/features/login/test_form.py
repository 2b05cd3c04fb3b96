"""The form of a login: which field is the identifier, and what is no credential at all."""

from typing import Any

import pytest

from tests.support.forms import problems, read_login


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
    form = read_login(body | {"password": " x "})

    assert (form.identifier, form.password) == (login, " x ")


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
    assert list(problems(read_login, body)) == fields


def test_login_does_not_show_its_password() -> None:
    assert "hunter2" not in repr(read_login({"email": "a", "password": "hunter2"}))
