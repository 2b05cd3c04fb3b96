"""PUT /api/auth/me/password with a new password that an attacker guesses first."""

from unittest.mock import Mock

import pytest
from flask.testing import FlaskClient

from auth.new_passwords import COMMON, OWN_NAME
from auth.passwords import PasswordHasher
from tests.support.actor import VALIDATION_FAILED, WRONG_PASSWORD, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.rows import stored


@pytest.fixture
def lovelace(client: FlaskClient) -> Actor:
    return Actor(client, "Ada.Lovelace").register(email="countess@example.com")


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        pytest.param("password123", COMMON, id="common"),
        pytest.param("PASSWORD123", COMMON, id="common in capitals"),
        pytest.param("ada.lovelace", OWN_NAME, id="username"),
        pytest.param("Countess@example.com", OWN_NAME, id="email"),
        pytest.param("COUNTESS", OWN_NAME, id="local part of the email"),
    ],
)
def test_change_to_a_guessable_password_is_400_that_says_why(
    lovelace: Actor, sql: Sql, monkeypatch: pytest.MonkeyPatch, new: str, sentence: str
) -> None:
    monkeypatch.setattr(PasswordHasher, "hash", Mock(side_effect=AssertionError))
    before = stored(sql)

    answer = lovelace.change_password(new)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"] == {"new_password": sentence}
    assert stored(sql) == before
    assert lovelace.is_live()


def test_change_with_a_wrong_password_does_not_judge_the_new_one(lovelace: Actor) -> None:
    answer = lovelace.change_password("ada.lovelace", current_password=WRONG_PASSWORD)

    assert refusal(answer) == (403, "wrong_password", None)


def test_change_compares_with_the_username_of_now(lovelace: Actor) -> None:
    lovelace.change_profile(username="Countess.Ada", current_password=lovelace.password)

    assert refusal(lovelace.change_password("countess.ada")) == VALIDATION_FAILED
    assert lovelace.change_password("ada.lovelace").status_code == 200


@pytest.mark.parametrize("new", ["password123", "ada.lovelace"])
def test_change_without_the_blocklist_takes_every_password(
    client_of: ClientOf, lovelace: Actor, new: str
) -> None:
    free = lovelace.through(client_of(password_blocklist=False))

    assert free.change_password(new).status_code == 200


def test_password_that_became_common_still_logs_in(client_of: ClientOf, client: FlaskClient) -> None:
    old_user = Actor(client_of(password_blocklist=False), "bob", "password123").register()

    assert old_user.through(client).try_log_in().status_code == 200
