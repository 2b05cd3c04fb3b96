"""POST /api/auth/register."""

import json
import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_bcrypt import Bcrypt
from werkzeug.test import TestResponse

from app import create_app
from auth.passwords import PasswordHasher
from config import Settings
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import Register
from tests.support.database import MakeDatabase, Sql, run_sql

REGISTER = "/api/auth/register"
LOGIN = "/api/auth/login"
ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
RACERS = 50
NFC = unicodedata.normalize("NFC", "sch\u00f6ne Gr\u00fc\u00dfe")
NFD = unicodedata.normalize("NFD", NFC)


def email_of(length: int) -> str:
    """Return a valid address of `length` characters."""
    return "a" * (length - len("@example.com")) + "@example.com"


def post(client: FlaskClient, **changes: object) -> TestResponse:
    """Register ada with `changes`; a field set to ... is left out."""
    body = {name: value for name, value in (ADA | changes).items() if value is not ...}
    return client.post(REGISTER, json=body)


def log_in(client: FlaskClient, password: str) -> int:
    return client.post(LOGIN, json={"username": "ada", "password": password}).status_code


def app_without_hash_slots(db_url: str) -> Flask:
    app = create_app(Settings(db_url=db_url, secret_key=SECRET_KEY, bcrypt_rounds=4))
    full = PasswordHasher(Bcrypt(app), rounds=4, running=0, waiting=0)
    app.extensions["auth"] = replace(app.extensions["auth"], passwords=full)
    return app


def test_register_answers_with_the_user_and_a_token(client: FlaskClient) -> None:
    answer = post(client, first_name="Ada", last_name="Lovelace")

    body = answer.get_json()
    created_at = body["user"].pop("created_at")
    assert answer.status_code == 201
    assert isinstance(body.pop("token"), str)
    assert len(body.pop("refresh_token")) == 64
    assert body == {
        "message": "User registered successfully",
        "type": "Bearer",
        "expires_in": 3600,
        "refresh_expires_in": 14 * 24 * 3600,
        "userId": 1,
        "username": "ada",
        "user": {
            "id": 1,
            "username": "ada",
            "email": "ada@example.com",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "firstName": "Ada",
            "lastName": "Lovelace",
            "createdAt": created_at,
        },
    }


def test_register_dates_the_user_now_in_utc(client: FlaskClient) -> None:
    created_at = post(client).get_json()["user"]["createdAt"]

    at = datetime.strptime(created_at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert abs((datetime.now(timezone.utc) - at).total_seconds()) < 60


def test_register_signs_exactly_the_claims_of_the_contract(client: FlaskClient) -> None:
    before = int(time.time())

    token = post(client, email="Ada@Example.com").get_json()["token"]

    header, claims = jwt.get_unverified_header(token), jwt.decode(token, SECRET_KEY, algorithms=["HS256"])
    issued_at, token_id = claims.pop("iat"), claims.pop("jti")
    assert header == {"alg": "HS256", "typ": "JWT"}
    assert claims == {"id": 1, "email": "ada@example.com", "sub": "1", "sid": 1, "exp": issued_at + 3600}
    assert before <= issued_at <= time.time()
    assert isinstance(token_id, str)
    assert len(token_id) >= 16


def test_register_gives_every_token_its_own_id(client: FlaskClient) -> None:
    tokens = [
        post(client, username=name, email=f"{name}@x.io").get_json()["token"] for name in ("ada", "bob")
    ]

    ids = {jwt.decode(token, SECRET_KEY, algorithms=["HS256"])["jti"] for token in tokens}
    assert len(ids) == 2


def test_register_uses_the_lifetime_of_the_settings(make_database: MakeDatabase) -> None:
    settings = Settings(
        db_url=make_database(), secret_key=SECRET_KEY, bcrypt_rounds=4, jwt_expires_seconds=60
    )
    app = create_app(settings)

    body = post(app.test_client()).get_json()

    claims = jwt.decode(body["token"], SECRET_KEY, algorithms=["HS256"])
    assert body["expires_in"] == 60
    assert claims["exp"] - claims["iat"] == 60


def test_register_stores_the_row(client: FlaskClient, sql: Sql) -> None:
    post(client, username=" Ada ", email=" Ada@Example.COM\n", first_name=" Ada ", last_name="\tKing\n")

    rows = sql("SELECT id, username, email, first_name, last_name FROM users")
    assert rows == [(1, "Ada", "ada@example.com", "Ada", "King")]


def test_register_stores_a_bcrypt_hash_of_the_configured_cost(client: FlaskClient, sql: Sql) -> None:
    post(client)

    stored = sql("SELECT password FROM users")[0][0]
    assert stored.startswith("$2b$04$")
    assert len(stored) == 60


def test_register_salts_every_hash(client: FlaskClient, sql: Sql) -> None:
    post(client)
    post(client, username="bob", email="bob@example.com")

    assert sql("SELECT count(DISTINCT password) FROM users") == [(2,)]


def test_register_shows_neither_the_password_nor_its_hash(client: FlaskClient, sql: Sql) -> None:
    answer = post(client)

    assert PASSWORD not in answer.text
    assert sql("SELECT password FROM users")[0][0] not in answer.text


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
        pytest.param({"password": "x" * 8}, id="password of 8"),
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
    answer = post(client, **changes)

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
    answer = post(client, **changes)

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
    user = post(client, **names).get_json()["user"]

    assert sql("SELECT first_name, last_name FROM users") == [stored]
    assert (user["first_name"], user["last_name"]) == tuple(name or "" for name in stored)
    assert (user["firstName"], user["lastName"]) == (user["first_name"], user["last_name"])


@pytest.mark.parametrize(
    ("second", "code"),
    [
        pytest.param({"username": "ada", "email": "b@x.io"}, "username_taken", id="username"),
        pytest.param({"username": "ADA", "email": "b@x.io"}, "username_taken", id="username in other case"),
        pytest.param({"username": " Ada\n", "email": "b@x.io"}, "username_taken", id="username and space"),
        pytest.param({"username": "bob", "email": "ada@example.com"}, "email_taken", id="email"),
        pytest.param({"username": "bob", "email": "Ada@EXAMPLE.com"}, "email_taken", id="email, other case"),
        pytest.param({"username": "bob", "email": " ada@example.com "}, "email_taken", id="email and space"),
    ],
)
def test_register_of_what_is_taken_is_409_with_its_code(
    client: FlaskClient, register: Register, sql: Sql, second: dict[str, Any], code: str
) -> None:
    register()

    answer = post(client, **second)

    assert answer.status_code == 409
    assert answer.get_json().keys() == {"error", "code"}
    assert answer.get_json()["code"] == code
    assert sql("SELECT username, email FROM users") == [("ada", "ada@example.com")]


def test_register_of_a_taken_username_and_email_is_409(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    register()

    answer = post(client, username="Ada", email="Ada@example.com")

    assert answer.status_code == 409
    assert answer.get_json()["code"] in ("username_taken", "email_taken")
    assert sql("SELECT count(*) FROM users") == [(1,)]


def test_register_of_what_an_older_row_holds_in_other_case_is_409(client: FlaskClient, sql: Sql) -> None:
    sql("INSERT INTO users (username, email, password) VALUES ('Old User!', 'Old@Example.com', '-')")

    answer = post(client, email="old@example.com")

    assert answer.get_json()["code"] == "email_taken"


def test_register_shows_the_username_as_typed(client: FlaskClient, sql: Sql) -> None:
    body = post(client, username="AdaL").get_json()

    assert (body["username"], body["user"]["username"]) == ("AdaL", "AdaL")
    assert sql("SELECT username FROM users") == [("AdaL",)]


@pytest.mark.parametrize(
    ("registered", "typed"),
    [
        pytest.param(NFC, NFD, id="NFC then NFD"),
        pytest.param(NFD, NFC, id="NFD then NFC"),
        pytest.param(NFD * 9, NFC * 9, id="longer than bcrypt reads"),
    ],
)
def test_register_takes_both_forms_of_a_password_for_one(
    client: FlaskClient, registered: str, typed: str
) -> None:
    post(client, password=registered)

    assert log_in(client, typed) == 200


@pytest.mark.parametrize(
    "password",
    [
        pytest.param(" padded  ", id="space around"),
        pytest.param("x" * 72, id="72 bytes"),
        pytest.param("x" * 73, id="73 bytes"),
        pytest.param("x" * 256, id="256 bytes"),
        pytest.param("\u00e9" * 36, id="72 bytes in 36 characters"),
        pytest.param("\u00e9" * 37, id="74 bytes in 37 characters"),
        pytest.param("\U0001f512" * 256, id="1024 bytes"),
    ],
)
def test_register_cuts_nothing_off_the_password(client: FlaskClient, password: str) -> None:
    post(client, password=password)

    others = [
        password[:-1],
        password + "x",
        password[:-1] + "y",
        password.strip() + "\t",
        password[:72] + "z",
    ]
    assert log_in(client, password) == 200
    assert [log_in(client, other) for other in others] == [401] * len(others)


@pytest.mark.parametrize("field", ["first_name", "last_name", "firstName", "lastName"])
def test_register_stores_sql_in_a_name_as_text(client: FlaskClient, sql: Sql, field: str) -> None:
    injection = "x'); DROP TABLE users; --"

    answer = post(client, **{field: injection})

    assert answer.status_code == 201
    assert answer.get_json()["user"][field] == injection
    assert (injection,) in sql("SELECT first_name FROM users UNION ALL SELECT last_name FROM users")


@pytest.mark.parametrize("field", ["username", "email"])
def test_register_refuses_sql_in_a_login(client: FlaskClient, sql: Sql, field: str) -> None:
    answer = post(client, **{field: "x'); DROP TABLE users; --"})

    assert answer.status_code == 400
    assert sql("SELECT id FROM users") == []


def test_register_with_sql_as_its_password_can_log_in(client: FlaskClient) -> None:
    post(client, password="' OR '1'='1")

    assert log_in(client, "' OR '1'='1") == 200


def test_register_stores_nothing_when_the_hash_queue_is_full(
    make_database: MakeDatabase,
) -> None:
    url = make_database()
    client = app_without_hash_slots(url).test_client()

    answer = post(client)

    assert (answer.status_code, answer.get_json()["code"]) == (503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert run_sql(url, "SELECT id FROM users") == []


def test_register_follows_the_configured_minimum_length(make_database: MakeDatabase) -> None:
    settings = Settings(
        db_url=make_database(), secret_key=SECRET_KEY, bcrypt_rounds=4, password_min_length=15
    )
    client = create_app(settings).test_client()

    answers = [post(client, password="x" * 14), post(client, password="x" * 15)]

    assert [answer.status_code for answer in answers] == [400, 201]


def test_register_of_one_username_at_once_succeeds_once(app: Flask, sql: Sql) -> None:
    start = threading.Barrier(RACERS)

    def race(number: int) -> int:
        client = app.test_client()
        body = json.dumps(ADA | {"username": "Ada" if number % 2 else "aDA", "email": f"{number}@x.io"})
        start.wait(10)
        for _ in range(200):
            answer = client.post(REGISTER, data=body, content_type="application/json")
            if answer.status_code != 503:
                break
            time.sleep(0.01)  # as Retry-After asks of a client, only sooner
        return answer.status_code

    with ThreadPoolExecutor(RACERS) as pool:
        statuses = list(pool.map(race, range(RACERS)))

    assert sorted(statuses) == [201] + [409] * (RACERS - 1)
    assert sql("SELECT count(*) FROM users") == [(1,)]
