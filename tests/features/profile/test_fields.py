"""PATCH /api/auth/me: fields that are refused, and the fields of users whom an earlier version stored."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support import PASSWORD
from tests.support.actor import VALIDATION_FAILED, Actor, refusal
from tests.support.database import Sql
from tests.support.rows import stored

OLDER_FIELDS = {  # a registration accepts none of them today
    "username": "Ada Lovelace",
    "email": "Ada@Localhost",
    "first_name": " Ada ",
    "last_name": "",
}


@pytest.fixture
def older_user(ada: Actor, sql: Sql) -> Actor:
    """A user whom an earlier version stored."""
    sql("UPDATE users SET username = %s, email = %s, first_name = %s, last_name = %s", *OLDER_FIELDS.values())
    return ada


@pytest.mark.parametrize(
    ("sent", "bad"),
    [
        pytest.param({"username": ""}, {"username"}, id="empty username"),
        pytest.param({"username": " "}, {"username"}, id="blank username"),
        pytest.param({"username": None}, {"username"}, id="null username"),
        pytest.param({"username": 7}, {"username"}, id="username of a number"),
        pytest.param({"username": "x" * 51}, {"username"}, id="long username"),
        pytest.param({"username": "a b"}, {"username"}, id="username with a space"),
        pytest.param({"username": "ada@example.com"}, {"username"}, id="username like an email"),
        pytest.param({"username": "\u0430da"}, {"username"}, id="username of look-alikes"),
        pytest.param({"username": "a\0b"}, {"username"}, id="username with NUL"),
        pytest.param({"email": ""}, {"email"}, id="empty email"),
        pytest.param({"email": None}, {"email"}, id="null email"),
        pytest.param({"email": "ada"}, {"email"}, id="email without an @"),
        pytest.param({"email": "ada@localhost"}, {"email"}, id="email without a dot"),
        pytest.param({"email": "a" * 244 + "@example.com"}, {"email"}, id="long email"),
        pytest.param({"email": ["ada@example.com"]}, {"email"}, id="email in a list"),
        pytest.param({"first_name": "x" * 101}, {"first_name"}, id="long first name"),
        pytest.param({"firstName": "x" * 101}, {"firstName"}, id="long first name in camelCase"),
        pytest.param({"last_name": 7}, {"last_name"}, id="last name of a number"),
        pytest.param({"lastName": {}}, {"lastName"}, id="last name of an object"),
        pytest.param({"first_name": "\ud800"}, {"first_name"}, id="lone surrogate"),
        pytest.param({"current_password": 7}, {"current_password"}, id="password of a number"),
        pytest.param(
            {"username": "", "email": "x", "firstName": 1, "last_name": "x" * 101, "current_password": []},
            {"username", "email", "firstName", "last_name", "current_password"},
            id="every one",
        ),
    ],
)
def test_patch_of_bad_fields_is_400_that_names_each(
    client: FlaskClient, sql: Sql, sent: dict[str, Any], bad: set[str]
) -> None:
    ada = Actor(client).register(first_name="Ada")
    before = stored(sql)

    answer = ada.change_profile(**{"current_password": PASSWORD} | sent)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == bad
    assert stored(sql) == before


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param({"username": "bob"}, "username_taken", id="username"),
        pytest.param({"username": "BoB"}, "username_taken", id="username in another case"),
        pytest.param({"email": "bob@example.com"}, "email_taken", id="email"),
        pytest.param({"email": "BOB@Example.com"}, "email_taken", id="email in another case"),
        pytest.param({"username": "new", "email": "bob@example.com"}, "email_taken", id="new username"),
        pytest.param({"username": "bob", "email": "new@example.com"}, "username_taken", id="new email"),
        pytest.param({"username": "bob", "first_name": "A"}, "username_taken", id="and a name"),
    ],
)
def test_patch_to_what_is_taken_is_409_and_stores_nothing(
    client: FlaskClient, ada: Actor, sql: Sql, sent: dict[str, Any], code: str
) -> None:
    Actor(client, "bob").register()
    before = stored(sql)

    answer = ada.change_profile(current_password=PASSWORD, **sent)

    assert refusal(answer) == (409, code, None)
    assert stored(sql) == before


def test_patch_to_an_email_that_an_older_row_has_in_another_case_is_409(
    client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    Actor(client, "bob").register()
    sql("UPDATE users SET email = 'Bob@Example.com' WHERE username = 'bob'")

    answer = ada.change_profile(current_password=PASSWORD, email="bob@example.com")

    assert refusal(answer) == (409, "email_taken", None)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"last_name": "King"}, id="last name"),
        pytest.param({"first_name": "Augusta"}, id="first name"),
        pytest.param({"first_name": None, "last_name": "King"}, id="no first name"),
    ],
)
def test_patch_accepts_what_an_older_user_leaves_unchanged(
    older_user: Actor, sql: Sql, changed: dict[str, Any]
) -> None:
    form = older_user.me().get_json() | changed

    answer = older_user.change_profile(**{name: form[name] for name in OLDER_FIELDS})

    expected = OLDER_FIELDS | changed
    assert answer.status_code == 200, answer.text
    assert sql("SELECT username, email, first_name, last_name FROM users") == [tuple(expected.values())]


@pytest.mark.parametrize(
    ("changed", "bad"),
    [
        pytest.param({"username": "Ada  Lovelace"}, "username", id="username"),
        pytest.param({"email": "ada@localhost"}, "email", id="email"),
        pytest.param({"first_name": "A" * 101}, "first_name", id="first name"),
    ],
)
def test_patch_validates_what_an_older_user_changes(
    older_user: Actor, sql: Sql, changed: dict[str, Any], bad: str
) -> None:
    answer = older_user.change_profile(current_password=PASSWORD, **(OLDER_FIELDS | changed))

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == {bad}
    assert sql("SELECT username, email, first_name, last_name FROM users") == [tuple(OLDER_FIELDS.values())]
