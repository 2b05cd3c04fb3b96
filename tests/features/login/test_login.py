"""POST /api/auth/login."""

import time
from typing import Any

import bcrypt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth import users
from auth.tokens import access
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import LOGIN, Actor, ClientOf
from tests.support.apps import app_on
from tests.support.database import MakeDatabase, Sql, run_sql


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
    client: FlaskClient, ada: Actor, credential: dict[str, Any]
) -> None:
    answer = client.post(LOGIN, json=credential | {"password": PASSWORD})

    assert answer.status_code == 200
    body = answer.get_json()
    assert set(body) == {"token", "type", "expires_in", "refresh_token", "refresh_expires_in", "user"}
    assert (body["type"], body["expires_in"], body["refresh_expires_in"]) == ("Bearer", 3600, 14 * 24 * 3600)
    assert body["user"] == ada.pair["user"]
    claims = access.verify(body["token"], key=SECRET_KEY, now=time.time(), max_ttl_seconds=3600)
    assert claims.user_id == ada.id


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
    client: FlaskClient, ada: Actor, credential: dict[str, Any]
) -> None:
    answer = client.post(LOGIN, json=credential)

    assert answer.status_code == 401
    assert answer.get_json() == {
        "error": "Invalid email/username or password",
        "code": "invalid_credentials",
    }
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_login_failure_is_logged_with_the_user_but_no_secret(
    ada: Actor, log_lines: list[dict[str, Any]]
) -> None:
    ada.try_log_in(password="wrong horse")

    assert f"login_failed user_id={ada.id}" in [line["message"] for line in log_lines]
    assert "wrong horse" not in str(log_lines)


def test_login_strengthens_a_hash_of_fewer_rounds(client: FlaskClient, client_of: ClientOf, sql: Sql) -> None:
    password = f" {PASSWORD}\u0301 "
    Actor(client, password=password).register()
    sql("INSERT INTO users (username, email, password) SELECT 'eve', 'eve@example.com', password FROM users")
    ada = Actor(client_of(bcrypt_rounds=5), password=password)

    answers = [ada.try_log_in() for _ in range(2)]

    stored = sql("SELECT username, left(password, 7) FROM users ORDER BY id")
    assert [answer.status_code for answer in answers] == [200, 200]
    assert stored == [("ada", "$2b$05$"), ("eve", "$2b$04$")]


def test_replaced_hash_is_not_overwritten(app: Flask, ada: Actor, sql: Sql) -> None:
    before = sql("SELECT password FROM users")
    database = app.extensions["auth"].database

    is_replaced = database.write(users.replace_hash, ada.id, old="another", new="new")

    assert not is_replaced
    assert sql("SELECT password FROM users") == before


def test_login_whose_new_hash_cannot_be_stored_succeeds(
    make_database: MakeDatabase, log_lines: list[dict[str, Any]]
) -> None:
    url = make_database()
    Actor(app_on(url).test_client()).register()
    run_sql(
        url,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE read_only_sql_transaction; END$$",
    )
    run_sql(url, "CREATE TRIGGER refuse BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION refuse()")
    ada = Actor(app_on(url, bcrypt_rounds=5).test_client())

    answer = ada.try_log_in()

    assert answer.status_code == 200
    assert any(line["message"].startswith("hash_not_strengthened user_id=1") for line in log_lines)


def test_login_of_an_older_hash_succeeds(client: FlaskClient, sql: Sql) -> None:
    ada = Actor(client).register()
    older = "$2a$04$" + sql("SELECT password FROM users")[0][0][7:]
    sql("UPDATE users SET password = %s", older)

    answer = ada.try_log_in()

    assert answer.status_code == 200


def test_login_replaces_a_hash_of_a_password_that_was_not_normalised(client: FlaskClient, sql: Sql) -> None:
    typed = "cafe\u0301 au lait"
    ada = Actor(client).register()
    older = bcrypt.hashpw(typed.encode(), bcrypt.gensalt(4)).decode()
    sql("UPDATE users SET password = %s", f"{{BLF-CRYPT}}{older}\n")

    first = ada.try_log_in(password=typed)
    [[stored]] = sql("SELECT password FROM users")
    second = ada.try_log_in(password="caf\u00e9 au lait")

    assert (first.status_code, second.status_code) == (200, 200)
    assert bcrypt.checkpw("caf\u00e9 au lait".encode(), stored.encode())


def test_login_with_a_password_that_was_cut_off_succeeds(client: FlaskClient, sql: Sql) -> None:
    ada = Actor(client).register()
    older = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    sql("UPDATE users SET password = %s", older)

    answer = ada.try_log_in(password="x" * 100)

    assert answer.status_code == 200
    assert sql("SELECT password FROM users") == [(older,)]
