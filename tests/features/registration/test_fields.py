"""POST /api/auth/register: what each field may be, and that a refused registration stores nothing."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.actor import REGISTER, ClientOf
from tests.support.database import Sql
from tests.support.registrations import email_of, try_register


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"username": "a"}, id="username of 1"),
        pytest.param({"username": "u" * 50}, id="username of 50"),
        pytest.param({"username": "u" * 50 + "  "}, id="username of 50 and space around"),
        pytest.param({"username": "A.z_0-9"}, id="username with every kind of character"),
        pytest.param({"username": "..."}, id="username of dots"),
        pytest.param({"email": email_of(255)}, id="email of 255"),
        pytest.param({"email": email_of(255) + " "}, id="email of 255 and space around"),
        pytest.param({"email": "o'hara+news@sub.example.co.uk"}, id="email with marks"),
        pytest.param({"email": f"a@{'d' * 63}.io"}, id="domain label of 63"),
        pytest.param({"password": "x" * 7 + "y"}, id="password of 8"),
        pytest.param({"password": "x" * 256}, id="password of 256"),
        pytest.param({"password": "\U0001f512" * 256}, id="password of 256 characters in 1024 bytes"),
        pytest.param({"password": " " * 8}, id="password of spaces"),
        pytest.param({"first_name": "n" * 100}, id="first name of 100"),
        pytest.param({"last_name": "\U0001f512" * 100}, id="last name of 100 characters in 400 bytes"),
        pytest.param({"first_name": None, "last_name": None}, id="null names"),
        pytest.param({"first_name": "", "last_name": "  "}, id="empty names"),
        pytest.param({"nickname": ["x"], "is_admin": True, "id": 7}, id="unknown keys"),
    ],
)
def test_register_within_the_rules_is_201(client: FlaskClient, sql: Sql, changes: dict[str, Any]) -> None:
    answer = try_register(client, **changes)

    assert answer.status_code == 201, answer.text
    assert sql("SELECT id FROM users") == [(1,)]


@pytest.mark.parametrize(
    ("changes", "bad"),
    [
        pytest.param({"username": ...}, "username", id="no username"),
        pytest.param({"username": None}, "username", id="null username"),
        pytest.param({"username": ""}, "username", id="empty username"),
        pytest.param({"username": " \t\n"}, "username", id="blank username"),
        pytest.param({"username": 5}, "username", id="number as username"),
        pytest.param({"username": ["ada"]}, "username", id="list as username"),
        pytest.param({"username": True}, "username", id="boolean as username"),
        pytest.param({"username": "u" * 51}, "username", id="username of 51"),
        pytest.param({"username": "ada lovelace"}, "username", id="username with a space"),
        pytest.param({"username": "ada@example"}, "username", id="username with an at sign"),
        pytest.param({"username": "ada\nb"}, "username", id="username of two lines"),
        pytest.param({"username": "\u212aate"}, "username", id="Kelvin sign in the username"),
        pytest.param({"username": "\u0131an"}, "username", id="dotless i in the username"),
        pytest.param({"username": "\u0430da"}, "username", id="Cyrillic a in the username"),
        pytest.param({"username": "\uff41da"}, "username", id="full-width a in the username"),
        pytest.param({"username": "\u0661"}, "username", id="Arabic digit in the username"),
        pytest.param({"username": "ad\u00e4"}, "username", id="umlaut in the username"),
        pytest.param({"username": "a\0b"}, "username", id="NUL in the username"),
        pytest.param({"email": ...}, "email", id="no email"),
        pytest.param({"email": None}, "email", id="null email"),
        pytest.param({"email": ""}, "email", id="empty email"),
        pytest.param({"email": "  "}, "email", id="blank email"),
        pytest.param({"email": {"a": 1}}, "email", id="object as email"),
        pytest.param({"email": email_of(256)}, "email", id="email of 256"),
        pytest.param({"email": "ada"}, "email", id="email without an at sign"),
        pytest.param({"email": "ada@localhost"}, "email", id="email without a dot"),
        pytest.param({"email": f"a@{'d' * 64}.io"}, "email", id="domain label of 64"),
        pytest.param({"email": "\u212aate@example.com"}, "email", id="Kelvin sign in the email"),
        pytest.param({"email": "ada@example.\u0131o"}, "email", id="dotless i in the email"),
        pytest.param({"email": "\u0430da@example.com"}, "email", id="Cyrillic a in the email"),
        pytest.param({"email": "ada@ex\u00e4mple.com"}, "email", id="umlaut in the domain"),
        pytest.param({"email": "a\ud800@example.com"}, "email", id="lone surrogate in the email"),
        pytest.param({"password": ...}, "password", id="no password"),
        pytest.param({"password": None}, "password", id="null password"),
        pytest.param({"password": ""}, "password", id="empty password"),
        pytest.param({"password": 12345678}, "password", id="number as password"),
        pytest.param({"password": "x" * 7}, "password", id="password of 7"),
        pytest.param({"password": "e\u0301" * 7}, "password", id="password of 7 composed characters"),
        pytest.param({"password": "x" * 257}, "password", id="password of 257"),
        pytest.param({"password": "long enough\0"}, "password", id="NUL in the password"),
        pytest.param({"password": "long enough\udfff"}, "password", id="lone surrogate in the password"),
        pytest.param({"first_name": "n" * 101}, "first_name", id="first name of 101"),
        pytest.param({"firstName": "n" * 101}, "firstName", id="firstName of 101"),
        pytest.param({"last_name": "n" * 101}, "last_name", id="last name of 101"),
        pytest.param({"lastName": "n" * 101}, "lastName", id="lastName of 101"),
        pytest.param({"first_name": 5}, "first_name", id="number as first name"),
        pytest.param({"lastName": ["x"]}, "lastName", id="list as lastName"),
        pytest.param({"first_name": False}, "first_name", id="boolean as first name"),
        pytest.param({"last_name": "a\0"}, "last_name", id="NUL in the last name"),
        pytest.param({"nickname": "a\0"}, "body", id="NUL in an unknown field"),
    ],
)
def test_register_past_a_rule_is_400_and_stores_nothing(
    client: FlaskClient, sql: Sql, changes: dict[str, Any], bad: str
) -> None:
    answer = try_register(client, **changes)

    body = answer.get_json()
    assert answer.status_code == 400
    assert body["code"] == "validation_failed"
    assert set(body) == {"error", "code", "fields"}
    assert list(body["fields"]) == [bad]
    assert body["error"] == body["fields"][bad]
    assert sql("SELECT id FROM users") == []


def test_register_names_every_bad_field(client: FlaskClient, sql: Sql) -> None:
    bad = {
        "username": "",
        "email": "x",
        "password": "short",
        "first_name": 1,
        "last_name": "n" * 101,
        "x": "\0",
    }

    answer = client.post(REGISTER, json=bad)

    body = answer.get_json()
    assert answer.status_code == 400
    assert set(body["fields"]) == (set(bad) - {"x"}) | {"body"}
    assert all(sentence in body["error"] for sentence in body["fields"].values())
    assert sql("SELECT id FROM users") == []


@pytest.mark.parametrize(
    ("names", "stored"),
    [
        pytest.param({"first_name": "Ada", "last_name": "King"}, ("Ada", "King"), id="snake_case"),
        pytest.param({"firstName": "Ada", "lastName": "King"}, ("Ada", "King"), id="camelCase"),
        pytest.param({"first_name": "Ada", "lastName": "King"}, ("Ada", "King"), id="one of each"),
        pytest.param(
            {"firstName": "B", "first_name": "A", "lastName": "D", "last_name": "C"},
            ("A", "C"),
            id="both, snake_case counts",
        ),
        pytest.param({"firstName": "B", "first_name": None}, (None, None), id="both, the counting one null"),
        pytest.param({"firstName": " \u00c9va ", "last_name": "O'Neil"}, ("\u00c9va", "O'Neil"), id="strips"),
        pytest.param({"first_name": "", "lastName": "   "}, (None, None), id="blank"),
        pytest.param({"first_name": None}, (None, None), id="null"),
        pytest.param({}, (None, None), id="absent"),
        pytest.param({"first_name": "\U0001f600"}, ("\U0001f600", None), id="surrogate pair"),
    ],
)
def test_register_takes_either_spelling_of_the_names(
    client: FlaskClient, sql: Sql, names: dict[str, Any], stored: tuple[str | None, str | None]
) -> None:
    user = try_register(client, **names).get_json()["user"]

    assert sql("SELECT first_name, last_name FROM users") == [stored]
    assert (user["first_name"], user["last_name"]) == tuple(name or "" for name in stored)
    assert (user["firstName"], user["lastName"]) == (user["first_name"], user["last_name"])


def test_register_follows_the_configured_minimum_length(client_of: ClientOf) -> None:
    client = client_of(password_min_length=15)

    answers = [try_register(client, password="x" * 14), try_register(client, password="x" * 15)]

    assert [answer.status_code for answer in answers] == [400, 201]


@pytest.mark.parametrize("field", ["first_name", "last_name", "firstName", "lastName"])
def test_register_stores_sql_in_a_name_as_text(client: FlaskClient, sql: Sql, field: str) -> None:
    injection = "x'); DROP TABLE users; --"

    answer = try_register(client, **{field: injection})

    assert answer.status_code == 201
    assert answer.get_json()["user"][field] == injection
    assert (injection,) in sql("SELECT first_name FROM users UNION ALL SELECT last_name FROM users")


@pytest.mark.parametrize("field", ["username", "email"])
def test_register_refuses_sql_in_a_login(client: FlaskClient, sql: Sql, field: str) -> None:
    answer = try_register(client, **{field: "x'); DROP TABLE users; --"})

    assert answer.status_code == 400
    assert sql("SELECT id FROM users") == []
