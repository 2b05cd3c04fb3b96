"""POST /api/auth/register with a password that an attacker guesses first."""

from typing import Any
from unittest.mock import Mock

import pytest
from flask.testing import FlaskClient

from auth.new_passwords import COMMON, OWN_NAME
from runtime import common_passwords
from tests.support import PASSWORD
from tests.support.actor import VALIDATION_FAILED, ClientOf, refusal
from tests.support.database import Sql
from tests.support.registrations import try_register

LOVELACE = {"username": "Ada.Lovelace", "email": "Countess@example.com"}


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        pytest.param("password123", COMMON, id="common"),
        pytest.param("PASSWORD123", COMMON, id="common in capitals"),
        pytest.param("ada.lovelace", OWN_NAME, id="username"),
        pytest.param("countess@EXAMPLE.com", OWN_NAME, id="email"),
        pytest.param("countess", OWN_NAME, id="local part of the email"),
    ],
)
def test_register_with_a_guessable_password_is_400_that_says_why(
    client: FlaskClient, sql: Sql, password: str, sentence: str
) -> None:
    answer = try_register(client, **LOVELACE, password=password)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"] == {"password": sentence}
    assert sql("SELECT id FROM users") == []


@pytest.mark.parametrize(
    ("changes", "password_sentence"),
    [
        pytest.param({"username": "a b"}, COMMON, id="username with a blank"),
        pytest.param({"username": None}, COMMON, id="no username"),
        pytest.param({"email": ["x"]}, COMMON, id="list as email"),
        pytest.param({"email": "password123"}, OWN_NAME, id="password as email"),
    ],
)
def test_register_names_the_guessable_password_beside_another_bad_field(
    client: FlaskClient, changes: dict[str, Any], password_sentence: str
) -> None:
    answer = try_register(client, **changes, password="password123")

    assert refusal(answer) == VALIDATION_FAILED
    fields = answer.get_json()["fields"]
    assert fields.keys() == {*changes, "password"}
    assert fields["password"] == password_sentence


@pytest.mark.parametrize("password", ["", None, 5, "ada", "x" * 257, "password\0"])
def test_register_looks_up_only_a_password_that_keeps_the_other_rules(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, password: object
) -> None:
    monkeypatch.setattr(common_passwords, "contains", Mock(side_effect=AssertionError))

    answer = try_register(client, password=password)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"]["password"] not in (COMMON, OWN_NAME)


def test_register_with_the_example_of_the_specification_is_201(client: FlaskClient) -> None:
    assert try_register(client, password="securepassword123").status_code == 201


@pytest.mark.parametrize("password", ["password123", "ada@example.com"])
def test_register_without_the_blocklist_takes_every_password(client_of: ClientOf, password: str) -> None:
    client = client_of(password_blocklist=False)

    assert try_register(client, password=password).status_code == 201


def test_login_looks_no_password_up(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    try_register(client)
    monkeypatch.setattr(common_passwords, "contains", Mock(side_effect=AssertionError))

    answer = client.post("/api/auth/login", json={"username": "ada", "password": PASSWORD})

    assert answer.status_code == 200


def test_service_without_the_blocklist_does_not_read_it(
    client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Mock()
    monkeypatch.setattr(common_passwords, "load", load)

    client_of(password_blocklist=False)
    assert load.call_count == 0

    client_of()
    assert load.call_count == 1
