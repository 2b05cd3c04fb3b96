"""Which passwords a user may not choose."""

from unittest.mock import Mock

import pytest

from auth import new_passwords
from auth.new_passwords import COMMON, OWN_NAME
from config import Settings
from runtime import common_passwords
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import NEW_PASSWORD

SETTINGS = Settings(db_url="", secret_key=SECRET_KEY)
OFF = Settings(db_url="", secret_key=SECRET_KEY, password_blocklist=False)


def weakness(
    password: str,
    *,
    username: str = "Ada.Lovelace",
    email: str = "countess@example.com",
    settings: Settings = SETTINGS,
) -> str | None:
    return new_passwords.weakness(password, username=username, email=email, settings=settings)


@pytest.mark.parametrize("password", ["password123", "PASSWORD123", "PassWord123", "qwertyuiop", "P@ssw0rd"])
def test_common_password_is_weak_in_any_case(password: str) -> None:
    assert weakness(password) == COMMON


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("ada.lovelace", id="username"),
        pytest.param("ADA.Lovelace", id="username in another case"),
        pytest.param("countess@example.com", id="email"),
        pytest.param("Countess@Example.Com", id="email in another case"),
        pytest.param("countess", id="local part"),
        pytest.param("COUNTESS", id="local part in another case"),
    ],
)
def test_name_of_the_user_is_weak_in_any_case(password: str) -> None:
    assert weakness(password) == OWN_NAME


@pytest.mark.parametrize("password", ["\u00e9L\u00c9ONORE", "e\u0301LE\u0301ONORE"], ids=["NFC", "NFD"])
def test_name_of_the_user_is_weak_in_any_unicode_form(password: str) -> None:
    # An earlier version had other rules for usernames.
    assert weakness(password, username="\u00c9l\u00e9onore") == OWN_NAME


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("securepassword123", id="the example of the specification"),
        pytest.param(PASSWORD, id="the example of the documents"),
        pytest.param(NEW_PASSWORD, id="its successor"),
        pytest.param("password123 ", id="common one and a blank"),
        pytest.param(" countess", id="blank and the local part"),
        pytest.param("ada.lovelace1", id="username and a digit"),
        pytest.param("example.com", id="domain"),
        pytest.param("\U0001f512" * 256, id="longest in bytes"),
    ],
)
def test_other_password_is_accepted(password: str) -> None:
    assert weakness(password) is None


def test_name_of_the_user_is_weak_without_the_blanks_that_are_stored() -> None:
    assert weakness("ada.lovelace", username="Ada.Lovelace   ") == OWN_NAME


def test_user_with_an_empty_email_may_choose_a_password() -> None:
    assert weakness(PASSWORD, email="") is None


@pytest.mark.parametrize("password", ["password123", "ada.lovelace", "countess"])
def test_every_password_is_accepted_when_the_blocklist_is_off(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setattr(common_passwords, "load", Mock(side_effect=AssertionError))

    assert weakness(password, settings=OFF) is None
