"""POST /api/auth/login."""

import time
from dataclasses import replace
from typing import Any

import bcrypt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from auth import users
from auth.tokens import access
from config import Settings
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import Register
from tests.support.database import MakeDatabase, Sql, run_sql

LOGIN = "/api/auth/login"


@pytest.mark.parametrize(
    "credential",
    [
        pytest.param({"email": "ada@example.com"}, id="email"),
        pytest.param({"username": "ada"}, id="username"),
        pytest.param({"email": "ADA@Example.COM"}, id="email in another case"),
        pytest.param({"username": "Ada"}, id="username in another case"),
        pytest.param({"email": "ada"}, id="username sent as email"),
        pytest.param({"username": "ada@example.com"}, id="email sent as username"),
        pytest.param({"email": " ada@example.com\n"}, id="surrounding space"),
        pytest.param({"email": "", "username": "ada"}, id="empty email beside a username"),
        pytest.param({"email": None, "username": "ada"}, id="null email beside a username"),
        pytest.param({"email": "ada", "username": "nobody"}, id="both, the email counts"),
    ],
)
def test_login_with_the_right_password_succeeds(
    client: FlaskClient, register: Register, credential: dict[str, Any]
) -> None:
    registered = register()

    answer = client.post(LOGIN, json=credential | {"password": PASSWORD})

    assert answer.status_code == 200
    body = answer.get_json()
    assert set(body) == {"token", "type", "expires_in", "refresh_token", "refresh_expires_in", "user"}
    assert (body["type"], body["expires_in"], body["refresh_expires_in"]) == ("Bearer", 3600, 14 * 24 * 3600)
    assert body["user"] == registered["user"]
    assert access.verify(body["token"], key=SECRET_KEY, now=time.time()).user_id == registered["userId"]


@pytest.mark.parametrize(
    "credential",
    [
        pytest.param({"email": "ada@example.com", "password": "wrong horse"}, id="wrong password"),
        pytest.param({"email": "ada@example.com", "password": PASSWORD + " "}, id="password is not stripped"),
        pytest.param({"email": "bob@example.com", "password": PASSWORD}, id="unknown email"),
        pytest.param({"username": "bob", "password": PASSWORD}, id="unknown username"),
        pytest.param({"email": "x" * 60_000, "password": PASSWORD}, id="endless login"),
        pytest.param({"username": "ada", "password": "x" * 60_000}, id="endless password"),
        pytest.param({"username": "' OR 1=1 --", "password": PASSWORD}, id="SQL"),
        pytest.param({"username": "ada", "email": "bob", "password": PASSWORD}, id="both, the email counts"),
    ],
)
def test_login_with_a_wrong_credential_is_401(
    client: FlaskClient, register: Register, credential: dict[str, Any]
) -> None:
    register()

    answer = client.post(LOGIN, json=credential)

    assert answer.status_code == 401
    assert answer.get_json() == {
        "error": "Invalid email/username or password",
        "code": "invalid_credentials",
    }
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_login_failure_is_logged_with_the_user_but_no_secret(
    client: FlaskClient, register: Register, log_lines: list[dict[str, Any]]
) -> None:
    user_id = register()["userId"]

    client.post(LOGIN, json={"username": "ada", "password": "wrong horse"})

    assert f"login_failed user_id={user_id}" in [line["message"] for line in log_lines]
    assert "wrong horse" not in str(log_lines)


def test_login_strengthens_a_hash_of_fewer_rounds(make_database: MakeDatabase) -> None:
    settings = Settings(db_url=make_database(), secret_key=SECRET_KEY, bcrypt_rounds=4)
    body = {"username": "ada", "email": "ada@example.com", "password": f" {PASSWORD}\u0301 "}
    create_app(settings).test_client().post("/api/auth/register", json=body)
    run_sql(
        settings.db_url,
        "INSERT INTO users (username, email, password) SELECT 'eve', 'eve@example.com', password FROM users",
    )
    client = create_app(replace(settings, bcrypt_rounds=5)).test_client()

    answers = [client.post(LOGIN, json=body) for _ in range(2)]

    stored = run_sql(settings.db_url, "SELECT left(password, 7) FROM users ORDER BY id")
    assert [answer.status_code for answer in answers] == [200, 200]
    assert stored == [("$2b$05$",), ("$2b$04$",)]


def test_replaced_hash_is_not_overwritten(app: Flask, register: Register, sql: Sql) -> None:
    user_id = register()["userId"]
    before = sql("SELECT password FROM users")
    database = app.extensions["auth"].database

    assert not database.write(users.replace_hash, user_id, old="another", new="new")

    assert sql("SELECT password FROM users") == before


def test_login_whose_new_hash_cannot_be_stored_succeeds(
    make_database: MakeDatabase, log_lines: list[dict[str, Any]]
) -> None:
    settings = Settings(db_url=make_database(), secret_key=SECRET_KEY, bcrypt_rounds=4)
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    create_app(settings).test_client().post("/api/auth/register", json=body)
    run_sql(
        settings.db_url,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE read_only_sql_transaction; END$$",
    )
    run_sql(
        settings.db_url,
        "CREATE TRIGGER refuse BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    client = create_app(replace(settings, bcrypt_rounds=5)).test_client()

    answer = client.post(LOGIN, json=body)

    assert answer.status_code == 200
    assert any(line["message"].startswith("hash_not_strengthened user_id=1") for line in log_lines)


def test_login_of_an_older_hash_succeeds(client: FlaskClient, register: Register, sql: Sql) -> None:
    register()
    older = "$2a$04$" + sql("SELECT password FROM users")[0][0][7:]
    sql("UPDATE users SET password = %s", older)

    answer = client.post(LOGIN, json={"username": "ada", "password": PASSWORD})

    assert answer.status_code == 200


def test_login_replaces_a_hash_of_a_password_that_was_not_normalised(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    typed = "cafe\u0301 au lait"
    register(password="something else")
    older = bcrypt.hashpw(typed.encode(), bcrypt.gensalt(4)).decode()
    sql("UPDATE users SET password = %s", f"{{BLF-CRYPT}}{older}\n")

    first = client.post(LOGIN, json={"username": "ada", "password": typed})
    [[stored]] = sql("SELECT password FROM users")
    second = client.post(LOGIN, json={"username": "ada", "password": "caf\u00e9 au lait"})

    assert (first.status_code, second.status_code) == (200, 200)
    assert bcrypt.checkpw("caf\u00e9 au lait".encode(), stored.encode())


def test_login_with_a_password_that_was_cut_off_succeeds(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    register()
    older = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    sql("UPDATE users SET password = %s", older)

    answer = client.post(LOGIN, json={"username": "ada", "password": "x" * 100})

    assert answer.status_code == 200
    assert sql("SELECT password FROM users") == [(older,)]
