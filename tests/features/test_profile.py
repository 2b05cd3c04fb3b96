"""PATCH /api/auth/me, PUT /api/auth/me/password and DELETE /api/auth/me."""

import time
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import bcrypt
import jwt
import psycopg2
import pytest
from flask.testing import FlaskClient
from flask_bcrypt import Bcrypt
from werkzeug.test import TestResponse

from app import create_app
from auth.passwords import PasswordHasher
from config import Settings
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import ClientOf, Register
from tests.support.database import MakeDatabase, Sql, run_sql

REGISTER, LOGIN, REFRESH = "/api/auth/register", "/api/auth/login", "/api/auth/refresh"
ME, ME_PASSWORD = "/api/auth/me", "/api/auth/me/password"
BOB = {"username": "bob", "email": "bob@example.com"}
NEW = "battery staple"
WRONG = "wrong horse"
WRONG_PASSWORD = {"error": "The current password is not right.", "code": "wrong_password"}
NFC = unicodedata.normalize("NFC", "sch\u00f6ne Gr\u00fc\u00dfe")
NFD = unicodedata.normalize("NFD", NFC)

# The three calls, each as it succeeds.
CALLS = [
    pytest.param("PATCH", ME, {"username": "countess", "current_password": PASSWORD}, id="PATCH"),
    pytest.param("PUT", ME_PASSWORD, {"current_password": PASSWORD, "new_password": NEW}, id="PUT"),
    pytest.param("DELETE", ME, {"password": PASSWORD}, id="DELETE"),
]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def call(client: FlaskClient, method: str, path: str, token: str, body: object) -> TestResponse:
    return client.open(path, method=method, json=body, headers=bearer(token))


def patch(client: FlaskClient, token: str, **fields: object) -> TestResponse:
    return call(client, "PATCH", ME, token, fields)


def put_password(client: FlaskClient, token: str, **fields: object) -> TestResponse:
    return call(
        client, "PUT", ME_PASSWORD, token, {"current_password": PASSWORD, "new_password": NEW} | fields
    )


def delete(client: FlaskClient, token: str, password: object = PASSWORD) -> TestResponse:
    return call(client, "DELETE", ME, token, {"password": password})


def log_in(client: FlaskClient, password: str = PASSWORD, login: str = "ada") -> TestResponse:
    return client.post(LOGIN, json={"username": login, "password": password})


def me(client: FlaskClient, token: str) -> TestResponse:
    return client.get(ME, headers=bearer(token))


def refresh(client: FlaskClient, refresh_token: str) -> TestResponse:
    return client.post(REFRESH, json={"refresh_token": refresh_token})


def without_session(user_id: int) -> str:
    """Return an access token of an earlier version, which knew no sessions."""
    return jwt.encode({"id": user_id, "exp": int(time.time()) + 3600}, SECRET_KEY, algorithm="HS256")


def stored(sql: Sql) -> list[tuple[Any, ...]]:
    """Return every row of both tables."""
    return sql("SELECT users::text FROM users ORDER BY id") + sql(
        "SELECT auth_sessions::text FROM auth_sessions ORDER BY id"
    )


def refusal(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


@pytest.mark.parametrize(
    ("sent", "changed"),
    [
        pytest.param({"username": "countess"}, {"username": "countess"}, id="username"),
        pytest.param({"username": " countess\n"}, {"username": "countess"}, id="username is stripped"),
        pytest.param({"username": "ADA"}, {"username": "ADA"}, id="username in another case"),
        pytest.param({"email": "new@example.com"}, {"email": "new@example.com"}, id="email"),
        pytest.param({"email": " New@Example.COM "}, {"email": "new@example.com"}, id="email is lower-cased"),
        pytest.param({"first_name": "Augusta"}, {"first_name": "Augusta"}, id="first name"),
        pytest.param({"last_name": "Byron"}, {"last_name": "Byron"}, id="last name"),
        pytest.param({"firstName": " Augusta "}, {"first_name": "Augusta"}, id="first name in camelCase"),
        pytest.param({"lastName": "Byron"}, {"last_name": "Byron"}, id="last name in camelCase"),
        pytest.param(
            {"first_name": "Snake", "firstName": "Camel", "lastName": "Camel", "last_name": "Snake"},
            {"first_name": "Snake", "last_name": "Snake"},
            id="both spellings, snake_case counts",
        ),
        pytest.param({"first_name": None, "firstName": "Camel"}, {"first_name": None}, id="null counts, too"),
        pytest.param({"first_name": None}, {"first_name": None}, id="null clears"),
        pytest.param({"last_name": ""}, {"last_name": None}, id="empty clears"),
        pytest.param({"lastName": None}, {"last_name": None}, id="null in camelCase clears"),
        pytest.param({"firstName": ""}, {"first_name": None}, id="empty in camelCase clears"),
        pytest.param({"last_name": " \t"}, {"last_name": None}, id="space clears"),
        pytest.param({"first_name": "x" * 100}, {"first_name": "x" * 100}, id="longest name"),
        pytest.param({"username": "x" * 50}, {"username": "x" * 50}, id="longest username"),
        pytest.param({}, {}, id="nothing"),
        pytest.param({"id": 9, "created_at": None, "password": "x"}, {}, id="unknown keys"),
        pytest.param(
            {"username": "countess", "email": "new@example.com", "firstName": "A", "last_name": "B"},
            {"username": "countess", "email": "new@example.com", "first_name": "A", "last_name": "B"},
            id="everything",
        ),
    ],
)
def test_patch_changes_what_was_sent_and_nothing_else(
    client: FlaskClient, register: Register, sql: Sql, sent: dict[str, Any], changed: dict[str, Any]
) -> None:
    token = register(first_name="Ada", last_name="King")["token"]
    columns = ["id", "username", "email", "first_name", "last_name", "password", "created_at"]
    before = dict(zip(columns, sql(f"SELECT {', '.join(columns)} FROM users")[0], strict=True))

    answer = patch(client, token, current_password=PASSWORD, **sent)

    after = dict(zip(columns, sql(f"SELECT {', '.join(columns)} FROM users")[0], strict=True))
    assert answer.status_code == 200
    assert after == before | changed
    assert answer.get_json() == me(client, token).get_json()
    assert answer.get_json()["first_name"] == (after["first_name"] or "")
    assert answer.get_json()["lastName"] == (after["last_name"] or "")


def test_patch_answers_with_the_user_object(client: FlaskClient, register: Register) -> None:
    registered = register(first_name="Ada")

    answer = patch(client, registered["token"], last_name="King")

    assert answer.get_json() == registered["user"] | {"last_name": "King", "lastName": "King"}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({"first_name": "Augusta", "lastName": "Byron"}, id="names"),
        pytest.param({"username": "ada"}, id="same username"),
        pytest.param({"username": " ada "}, id="same username with space"),
        pytest.param({"email": "ada@example.com"}, id="same email"),
        pytest.param({"email": " ADA@Example.com "}, id="same email in another case"),
        pytest.param({"username": "ada", "email": "ada@example.com", "first_name": "A"}, id="whole form"),
        pytest.param({}, id="nothing"),
    ],
)
@pytest.mark.parametrize("password", [{}, {"current_password": ""}, {"current_password": WRONG}])
def test_patch_of_neither_username_nor_email_needs_no_password(
    client: FlaskClient, register: Register, sent: dict[str, Any], password: dict[str, Any]
) -> None:
    token = register()["token"]

    answer = patch(client, token, **sent, **password)

    assert answer.status_code == 200
    assert (answer.get_json()["username"], answer.get_json()["email"]) == ("ada", "ada@example.com")


OLDER = {  # none of which a registration would accept today
    "username": "Ada Lovelace",
    "email": "Ada@Localhost",
    "first_name": " Ada ",
    "last_name": "",
}


@pytest.fixture
def older_token(register: Register, sql: Sql) -> str:
    """The access token of a user as an earlier version stored them."""
    token: str = register()["token"]
    sql("UPDATE users SET username = %s, email = %s, first_name = %s, last_name = %s", *OLDER.values())
    return token


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"last_name": "King"}, id="last name"),
        pytest.param({"first_name": "Augusta"}, id="first name"),
        pytest.param({"first_name": None, "last_name": "King"}, id="no first name"),
    ],
)
def test_patch_does_not_judge_what_an_older_user_leaves_unchanged(
    client: FlaskClient, older_token: str, sql: Sql, changed: dict[str, Any]
) -> None:
    form = me(client, older_token).get_json() | changed

    answer = patch(client, older_token, **{name: form[name] for name in OLDER})

    expected = OLDER | changed
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
def test_patch_judges_what_an_older_user_changes(
    client: FlaskClient, older_token: str, sql: Sql, changed: dict[str, Any], bad: str
) -> None:
    answer = patch(client, older_token, current_password=PASSWORD, **(OLDER | changed))

    assert refusal(answer) == (400, "validation_failed")
    assert answer.get_json()["fields"].keys() == {bad}
    assert sql("SELECT username, email, first_name, last_name FROM users") == [tuple(OLDER.values())]


@pytest.mark.parametrize("password", [{}, {"current_password": ""}, {"current_password": None}])
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({"username": "countess"}, id="username"),
        pytest.param({"username": "Ada"}, id="username in another case"),
        pytest.param({"email": "new@example.com"}, id="email"),
        pytest.param({"username": "ada", "email": "new@example.com", "first_name": "A"}, id="whole form"),
    ],
)
def test_patch_of_username_or_email_without_the_password_is_400(
    client: FlaskClient, register: Register, sql: Sql, sent: dict[str, Any], password: dict[str, Any]
) -> None:
    token = register()["token"]
    before = stored(sql)

    answer = patch(client, token, **sent, **password)

    assert refusal(answer) == (400, "validation_failed")
    assert answer.get_json()["fields"].keys() == {"current_password"}
    assert stored(sql) == before


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({"username": "countess"}, id="username"),
        pytest.param({"email": "new@example.com"}, id="email"),
        pytest.param({"username": "countess", "first_name": "A"}, id="and a name"),
        pytest.param({"username": "bob"}, id="username that is taken"),
    ],
)
def test_patch_with_a_wrong_password_is_403_and_stores_nothing(
    client: FlaskClient, register: Register, sql: Sql, sent: dict[str, Any]
) -> None:
    register(**BOB)
    token = register()["token"]
    before = stored(sql)

    answer = patch(client, token, current_password=WRONG, **sent)

    assert (answer.status_code, answer.get_json()) == (403, WRONG_PASSWORD)
    assert "WWW-Authenticate" not in answer.headers
    assert stored(sql) == before


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
    client: FlaskClient, register: Register, sql: Sql, sent: dict[str, Any], bad: set[str]
) -> None:
    token = register(first_name="Ada")["token"]
    before = stored(sql)

    answer = call(client, "PATCH", ME, token, {"current_password": PASSWORD} | sent)

    assert refusal(answer) == (400, "validation_failed")
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
    client: FlaskClient, register: Register, sql: Sql, sent: dict[str, Any], code: str
) -> None:
    register(**BOB)
    token = register()["token"]
    before = stored(sql)

    answer = patch(client, token, current_password=PASSWORD, **sent)

    assert refusal(answer) == (409, code)
    assert stored(sql) == before


def test_patch_to_an_email_that_an_older_row_has_in_another_case_is_409(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    register(**BOB)
    token = register()["token"]
    sql("UPDATE users SET email = 'Bob@Example.com' WHERE username = 'bob'")

    answer = patch(client, token, current_password=PASSWORD, email="bob@example.com")

    assert refusal(answer) == (409, "email_taken")


def test_patch_frees_the_old_username_and_email(client: FlaskClient, register: Register) -> None:
    token = register()["token"]

    patch(client, token, current_password=PASSWORD, username="countess", email="new@example.com")

    assert register()["username"] == "ada"
    assert log_in(client, login="countess").status_code == 200


def test_patch_ends_no_session_and_the_next_token_has_the_new_email(
    client: FlaskClient, register: Register
) -> None:
    registered, other = register(), log_in(client).get_json()

    patch(client, registered["token"], current_password=PASSWORD, email="new@example.com")
    pair = refresh(client, other["refresh_token"]).get_json()

    assert me(client, registered["token"]).get_json()["email"] == "new@example.com"
    claims = jwt.decode(pair["token"], SECRET_KEY, algorithms=["HS256"])
    assert claims["email"] == "new@example.com"


def test_patch_changes_only_the_caller(client: FlaskClient, register: Register, sql: Sql) -> None:
    register(**BOB)
    bob = sql("SELECT * FROM users")
    token = register()["token"]

    patch(client, token, current_password=PASSWORD, username="countess", first_name="A")

    assert sql("SELECT * FROM users WHERE username = 'bob'") == bob


def test_put_password_answers_with_a_new_pair(client: FlaskClient, register: Register) -> None:
    registered = register()

    answer = put_password(client, registered["token"])

    body = answer.get_json()
    assert answer.status_code == 200
    assert body.keys() == {"token", "type", "expires_in", "refresh_token", "refresh_expires_in"}
    assert (body["type"], body["expires_in"], body["refresh_expires_in"]) == ("Bearer", 3600, 14 * 86400)
    assert body["token"] != registered["token"]
    assert body["refresh_token"] != registered["refresh_token"]
    assert me(client, body["token"]).status_code == 200
    assert refresh(client, body["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(NEW, id="plain"),
        pytest.param("x" * 8, id="shortest"),
        pytest.param("x" * 256, id="longest"),
        pytest.param("\U0001f600" * 256, id="longest in bytes"),
        pytest.param(f" {PASSWORD} ", id="old one with space"),
        pytest.param(PASSWORD.upper(), id="old one in another case"),
        pytest.param(NFD, id="decomposed"),
    ],
)
def test_put_password_replaces_the_password(
    client: FlaskClient, register: Register, sql: Sql, new: str
) -> None:
    token = register()["token"]

    answer = put_password(client, token, new_password=new)

    assert answer.status_code == 200
    assert log_in(client, unicodedata.normalize("NFC", new)).status_code == 200
    assert log_in(client).status_code == 401
    assert sql("SELECT password FROM users")[0][0].startswith("$2b$04$")


def test_put_password_ends_every_other_session_at_once(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    bob = register(**BOB)
    others = [register(), log_in(client).get_json(), log_in(client).get_json()]
    current = log_in(client).get_json()

    pair = put_password(client, current["token"]).get_json()

    assert {refusal(me(client, other["token"])) for other in others} == {(401, "token_invalid")}
    assert {refusal(refresh(client, other["refresh_token"])) for other in others} == {
        (401, "refresh_invalid")
    }
    assert me(client, pair["token"]).status_code == 200
    assert me(client, bob["token"]).status_code == 200
    assert len(sql("SELECT id FROM auth_sessions")) == 2


def test_put_password_goes_on_with_the_current_session(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    registered = register()
    columns = "id, created_at, expires_at, ip, user_agent"
    before = sql(f"SELECT {columns} FROM auth_sessions")

    pair = put_password(client, registered["token"]).get_json()

    claims = jwt.decode(pair["token"], SECRET_KEY, algorithms=["HS256"])
    assert sql(f"SELECT {columns} FROM auth_sessions") == before
    assert claims["sid"] == before[0][0]


def test_put_password_ends_the_refresh_token_of_the_current_session(
    client: FlaskClient, register: Register
) -> None:
    registered = register()

    pair = put_password(client, registered["token"]).get_json()

    assert refusal(refresh(client, registered["refresh_token"])) == (401, "refresh_invalid")
    assert refresh(client, pair["refresh_token"]).status_code == 200


def test_put_password_does_not_prolong_the_session(client: FlaskClient, register: Register, sql: Sql) -> None:
    token = register()["token"]
    sql("UPDATE auth_sessions SET expires_at = now() + interval '100 seconds'")

    pair = put_password(client, token).get_json()

    assert 95 <= pair["expires_in"] <= 100
    assert 95 <= pair["refresh_expires_in"] <= 100
    assert sql("SELECT valid_until = expires_at FROM auth_sessions") == [(True,)]


def test_put_password_with_a_token_of_an_earlier_version_opens_the_only_session(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    registered = register()
    log_in(client)

    answer = client.put(
        ME_PASSWORD,
        json={"current_password": PASSWORD, "new_password": NEW},
        headers=bearer(without_session(registered["userId"])) | {"User-Agent": "old"},
    )

    pair = answer.get_json()
    assert answer.status_code == 200
    assert sql("SELECT user_agent FROM auth_sessions") == [("old",)]
    assert me(client, registered["token"]).status_code == 401
    assert me(client, pair["token"]).status_code == 200
    assert refresh(client, pair["refresh_token"]).status_code == 200


def test_put_password_with_a_wrong_password_is_403_and_changes_nothing(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    token, other = register()["token"], log_in(client).get_json()
    before = stored(sql)

    answer = put_password(client, token, current_password=WRONG)

    assert (answer.status_code, answer.get_json()) == (403, WRONG_PASSWORD)
    assert stored(sql) == before
    assert me(client, other["token"]).status_code == 200


@pytest.mark.parametrize(
    ("sent", "bad"),
    [
        pytest.param({"current_password": ""}, {"current_password"}, id="empty current"),
        pytest.param({"current_password": None}, {"current_password"}, id="null current"),
        pytest.param({"current_password": 12345678}, {"current_password"}, id="current of a number"),
        pytest.param({"new_password": ""}, {"new_password"}, id="empty new"),
        pytest.param({"new_password": None}, {"new_password"}, id="null new"),
        pytest.param({"new_password": ["battery staple"]}, {"new_password"}, id="new in a list"),
        pytest.param({"new_password": "x" * 7}, {"new_password"}, id="short"),
        pytest.param({"new_password": "x" * 257}, {"new_password"}, id="long"),
        pytest.param({"new_password": "battery\0staple"}, {"new_password"}, id="NUL"),
        pytest.param({"new_password": "battery\ud800staple"}, {"new_password"}, id="lone surrogate"),
        pytest.param({"new_password": PASSWORD}, {"new_password"}, id="the old one"),
        pytest.param({"current_password": NFC, "new_password": NFD}, {"new_password"}, id="decomposed"),
        pytest.param(
            {"current_password": None, "new_password": "x"}, {"current_password", "new_password"}, id="both"
        ),
    ],
)
def test_put_password_of_bad_fields_is_400_that_names_each(
    client: FlaskClient, register: Register, sql: Sql, sent: dict[str, Any], bad: set[str]
) -> None:
    token = register()["token"]
    before = stored(sql)

    answer = put_password(client, token, **sent)

    assert refusal(answer) == (400, "validation_failed")
    assert answer.get_json()["fields"].keys() == bad
    assert stored(sql) == before


def test_put_password_follows_the_setting_for_the_shortest(client_of: ClientOf, register: Register) -> None:
    token = register()["token"]
    strict = client_of(password_min_length=15)

    assert put_password(strict, token, new_password="x" * 14).status_code == 400
    assert put_password(strict, token, new_password="x" * 15).status_code == 200


def test_delete_removes_the_user_and_all_that_is_theirs(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    register()
    token = log_in(client).get_json()["token"]

    answer = delete(client, token)

    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert stored(sql) == []


def test_delete_leaves_no_token_that_works(client: FlaskClient, register: Register) -> None:
    pairs = [register(), log_in(client).get_json(), log_in(client).get_json()]
    old = without_session(pairs[0]["userId"])

    delete(client, pairs[1]["token"])

    refused = {refusal(me(client, token)) for token in [old, *(pair["token"] for pair in pairs)]}
    assert refused == {(401, "token_invalid")}
    assert {refusal(refresh(client, pair["refresh_token"])) for pair in pairs} == {(401, "refresh_invalid")}
    assert refusal(log_in(client)) == (401, "invalid_credentials")


def test_delete_leaves_others_alone(client: FlaskClient, register: Register, sql: Sql) -> None:
    bob = register(**BOB)
    before = stored(sql)

    delete(client, register()["token"])

    assert stored(sql) == before
    assert me(client, bob["token"]).status_code == 200


def test_delete_frees_the_username_and_the_email(client: FlaskClient, register: Register) -> None:
    first = register()
    delete(client, first["token"])

    second = register()

    assert second["userId"] != first["userId"]
    assert me(client, first["token"]).status_code == 401


def test_delete_with_a_token_of_an_earlier_version_succeeds(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    token = without_session(register()["userId"])

    assert delete(client, token).status_code == 204
    assert stored(sql) == []


def test_delete_with_a_wrong_password_is_403_and_deletes_nothing(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    token = register()["token"]
    before = stored(sql)

    answer = delete(client, token, WRONG)

    assert (answer.status_code, answer.get_json()) == (403, WRONG_PASSWORD)
    assert stored(sql) == before
    assert me(client, token).status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"password": ""}, {"password": None}, {"password": 7}, {"current_password": PASSWORD}]
)
def test_delete_without_the_password_is_400(
    client: FlaskClient, register: Register, sql: Sql, body: dict[str, Any]
) -> None:
    token = register()["token"]
    before = stored(sql)

    answer = call(client, "DELETE", ME, token, body)

    assert refusal(answer) == (400, "validation_failed")
    assert answer.get_json()["fields"].keys() == {"password"}
    assert stored(sql) == before


@pytest.fixture(scope="module")
def beside(make_database: MakeDatabase) -> Iterator[tuple[FlaskClient, str]]:
    """A client of a service that shares its database with others, and the database's URL."""
    url = make_database()
    app = create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4))
    yield app.test_client(), url
    app.extensions["auth"].database.close()


@pytest.fixture
def streams(beside: tuple[FlaskClient, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database with a sibling service's table; the parameter is what its foreign key says."""
    _, url = beside
    run_sql(url, f"CREATE TABLE streams (user_id INTEGER NOT NULL REFERENCES users (id) {request.param})")
    yield url
    run_sql(url, "DROP TABLE streams; DELETE FROM users")


def registered_beside(client: FlaskClient, url: str) -> dict[str, Any]:
    """Register ada with two sessions and a stream of her own."""
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    registered: dict[str, Any] = client.post(REGISTER, json=body).get_json()
    log_in(client)
    run_sql(url, "INSERT INTO streams (user_id) VALUES (%s)", registered["userId"])
    return registered


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param("", id="no action"),
        pytest.param("ON DELETE RESTRICT", id="restrict"),
        pytest.param("DEFERRABLE INITIALLY DEFERRED", id="deferred"),
        pytest.param("ON DELETE SET NULL", id="set null where null is not allowed"),
    ],
    indirect=True,
)
def test_delete_of_an_account_in_use_is_409_and_deletes_nothing(
    beside: tuple[FlaskClient, str], streams: str
) -> None:
    client, url = beside
    registered = registered_beside(client, url)
    everything = (
        "SELECT users::text FROM users UNION ALL SELECT auth_sessions::text FROM auth_sessions"
        " UNION ALL SELECT streams::text FROM streams ORDER BY 1"
    )
    before = run_sql(url, everything)

    answer = delete(client, registered["token"])

    assert (answer.status_code, answer.get_json()) == (
        409,
        {
            "error": "The account cannot be deleted while other services still use it.",
            "code": "account_in_use",
        },
    )
    assert len(before) == 4
    assert run_sql(url, everything) == before
    assert me(client, registered["token"]).status_code == 200
    assert refresh(client, registered["refresh_token"]).status_code == 200


@pytest.mark.parametrize("streams", [pytest.param("", id="no action")], indirect=True)
def test_delete_of_an_account_that_is_no_longer_in_use_succeeds(
    beside: tuple[FlaskClient, str], streams: str
) -> None:
    client, url = beside
    token = registered_beside(client, url)["token"]
    assert delete(client, token).status_code == 409
    run_sql(url, "DELETE FROM streams")

    assert delete(client, token).status_code == 204
    assert run_sql(url, "SELECT id FROM auth_sessions") == []


@pytest.mark.parametrize("streams", [pytest.param("ON DELETE CASCADE", id="cascade")], indirect=True)
def test_delete_takes_along_what_other_services_let_go(beside: tuple[FlaskClient, str], streams: str) -> None:
    client, url = beside
    token = registered_beside(client, url)["token"]

    assert delete(client, token).status_code == 204
    assert run_sql(url, "SELECT user_id FROM streams") == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("PATCH", ME, {"username": "countess", "current_password": WRONG}, id="PATCH"),
        pytest.param("PUT", ME_PASSWORD, {"current_password": WRONG, "new_password": NEW}, id="PUT"),
        pytest.param("DELETE", ME, {"password": WRONG}, id="DELETE"),
    ],
)
def test_wrong_password_is_logged_with_the_user_but_no_secret(
    client: FlaskClient,
    register: Register,
    log_lines: list[dict[str, Any]],
    method: str,
    path: str,
    body: dict[str, Any],
) -> None:
    registered = register()

    call(client, method, path, registered["token"], body)

    warnings = [line["message"] for line in log_lines if line["level"] == "WARNING"]
    assert warnings == [f"wrong_password user_id={registered['userId']}"]
    assert not [secret for secret in (WRONG, NEW, registered["token"]) if secret in str(log_lines)]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_success_logs_no_secret(
    client: FlaskClient,
    register: Register,
    log_lines: list[dict[str, Any]],
    method: str,
    path: str,
    body: dict[str, Any],
) -> None:
    token = register()["token"]

    answer = call(client, method, path, token, body)

    assert answer.status_code in (200, 204)
    assert not [secret for secret in (PASSWORD, NEW, token, "$2b$") if secret in str(log_lines)]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
@pytest.mark.parametrize(
    ("token", "code"),
    [
        pytest.param("", "token_missing", id="no token"),
        pytest.param("nonsense", "token_invalid", id="nonsense"),
        pytest.param(
            jwt.encode({"id": 1, "exp": 1}, SECRET_KEY, algorithm="HS256"), "token_expired", id="expired"
        ),
        pytest.param(without_session(2**31 - 1), "token_invalid", id="unknown user"),
    ],
)
def test_call_without_a_valid_token_is_401(
    client: FlaskClient,
    register: Register,
    sql: Sql,
    method: str,
    path: str,
    body: dict[str, Any],
    token: str,
    code: str,
) -> None:
    register()
    before = stored(sql)

    answer = call(client, method, path, token, body)

    assert refusal(answer) == (401, code)
    assert stored(sql) == before


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
@pytest.mark.parametrize(
    "over",
    [
        pytest.param("DELETE FROM auth_sessions", id="ended"),
        pytest.param("UPDATE auth_sessions SET valid_until = now() - interval '1 ms'", id="expired"),
    ],
)
def test_call_after_the_end_of_the_session_is_401(
    client: FlaskClient,
    register: Register,
    sql: Sql,
    method: str,
    path: str,
    body: dict[str, Any],
    over: str,
) -> None:
    token = register()["token"]
    sql(over)
    before = stored(sql)

    answer = call(client, method, path, token, body)

    assert refusal(answer) == (401, "token_invalid")
    assert stored(sql) == before


def test_patch_of_a_name_after_the_end_of_the_session_is_401(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    token = register()["token"]
    sql("DELETE FROM auth_sessions")

    assert refusal(patch(client, token, first_name="A")) == (401, "token_invalid")
    assert refusal(patch(client, token)) == (401, "token_invalid")
    assert sql("SELECT first_name FROM users") == [(None,)]


@pytest.mark.parametrize(("method", "path", "_body"), CALLS)
@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        pytest.param({"data": "{"}, 415, "unsupported_media_type", id="no type"),
        pytest.param({"data": "{", "content_type": "application/json"}, 400, "invalid_json", id="half"),
        pytest.param({"json": []}, 400, "invalid_json", id="list"),
        pytest.param({"json": {"password": "x" * 70_000}}, 413, "body_too_large", id="large"),
    ],
)
def test_call_with_a_bad_body_is_refused(
    client: FlaskClient,
    register: Register,
    sql: Sql,
    method: str,
    path: str,
    _body: object,
    sent: dict[str, Any],
    status: int,
    code: str,
) -> None:
    token = register()["token"]
    before = stored(sql)

    answer = client.open(path, method=method, headers=bearer(token), **sent)

    assert refusal(answer) == (status, code)
    assert stored(sql) == before


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_passwords_are_checked_through_the_hash_slots(
    client_of: ClientOf, register: Register, sql: Sql, method: str, path: str, body: dict[str, Any]
) -> None:
    token = register()["token"]
    before = stored(sql)
    busy = client_of()
    full = PasswordHasher(Bcrypt(busy.application), rounds=4, running=0, waiting=0)
    extensions = busy.application.extensions
    extensions["auth"] = replace(extensions["auth"], passwords=full)

    answer = call(busy, method, path, token, body)

    assert refusal(answer) == (503, "busy")
    assert stored(sql) == before


@contextmanager
def change_under_way(settings: Settings, statement: str) -> Iterator[Callable[[], None]]:
    """Run `statement` but do not commit it; yield what waits until the service waits for it, and commits."""
    other = psycopg2.connect(settings.db_url)
    blocked = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def commit_once_awaited() -> None:
        deadline = time.monotonic() + 2
        while not run_sql(settings.db_url, blocked):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        other.commit()

    try:
        with other.cursor() as cur:
            cur.execute("SELECT FROM users FOR UPDATE")
            cur.execute(statement)
        yield commit_once_awaited
    finally:
        other.close()


STRONGER = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
@pytest.mark.parametrize(
    ("meanwhile", "refused"),
    [
        pytest.param(f"UPDATE users SET password = '{STRONGER}'", None, id="stronger"),
        pytest.param("UPDATE users SET password = 'another'", (403, "wrong_password"), id="another"),
        pytest.param(
            f"UPDATE users SET password = '{STRONGER}'; DELETE FROM auth_sessions",
            (401, "token_invalid"),
            id="stronger, session over",
        ),
        pytest.param("DELETE FROM users", (401, "token_invalid"), id="user gone"),
    ],
)
def test_hash_that_is_replaced_while_it_is_checked_is_looked_at_again(
    client: FlaskClient,
    register: Register,
    settings: Settings,
    sql: Sql,
    method: str,
    path: str,
    body: dict[str, Any],
    meanwhile: str,
    refused: tuple[int, str] | None,
) -> None:
    token = register()["token"]

    with ThreadPoolExecutor(1) as threads, change_under_way(settings, meanwhile) as commit_once_awaited:
        future = threads.submit(call, client, method, path, token, body)
        commit_once_awaited()
        answer = future.result()

    if refused is None:
        assert answer.status_code in (200, 204)
        assert sql("SELECT username, password FROM users") != [("ada", STRONGER)]
    else:
        assert refusal(answer) == refused
        assert sql("SELECT username FROM users WHERE username <> 'ada'") == []


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_hash_that_is_replaced_again_and_again_is_looked_at_twice(
    make_database: MakeDatabase, method: str, path: str, body: dict[str, Any]
) -> None:
    """The statement finds no row, as if the hash were always another."""
    url = make_database()
    client = create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4)).test_client()
    credential = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    token = client.post(REGISTER, json=credential).get_json()["token"]
    run_sql(url, "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    for table, event in (("users", "UPDATE OR DELETE"), ("auth_sessions", "INSERT")):
        run_sql(url, f"CREATE TRIGGER skip BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION skip()")

    answer, login = call(client, method, path, token, body), client.post(LOGIN, json=credential)

    assert refusal(answer) == (403, "wrong_password")
    assert refusal(login) == (401, "invalid_credentials")


def test_put_password_of_a_session_that_ends_while_it_is_checked_is_401(
    client: FlaskClient, register: Register, settings: Settings, sql: Sql
) -> None:
    token = register()["token"]
    before = sql("SELECT password FROM users")
    ended = "DELETE FROM auth_sessions"

    with ThreadPoolExecutor(1) as threads, change_under_way(settings, ended) as commit_once_awaited:
        future = threads.submit(put_password, client, token)
        commit_once_awaited()
        answer = future.result()

    assert refusal(answer) == (401, "token_invalid")
    assert sql("SELECT password FROM users") == before


def test_times_of_a_session_are_those_of_the_change(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    token = register()["token"]
    sql("UPDATE auth_sessions SET last_used_at = now() - interval '1 day'")

    put_password(client, token)

    used: datetime = sql("SELECT last_used_at FROM auth_sessions")[0][0]
    assert abs(used.timestamp() - time.time()) < 5
