"""POST /api/auth/register: the answer, the token, the row, and what is taken."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support import SECRET_KEY
from tests.support.actor import REGISTER, Actor, ClientOf
from tests.support.apps import app_without_hash_slots
from tests.support.database import MakeDatabase, Sql, run_sql
from tests.support.registrations import ADA, try_register

RACERS = 50


def test_register_answers_with_the_user_and_a_token(client: FlaskClient) -> None:
    answer = try_register(client, first_name="Ada", last_name="Lovelace")

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
            "email_verified": False,
            "two_factor": False,
            "first_name": "Ada",
            "last_name": "Lovelace",
            "firstName": "Ada",
            "lastName": "Lovelace",
            "createdAt": created_at,
        },
    }


def test_register_dates_the_user_now_in_utc(client: FlaskClient) -> None:
    created_at = try_register(client).get_json()["user"]["createdAt"]

    at = datetime.strptime(created_at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert abs((datetime.now(timezone.utc) - at).total_seconds()) < 60


def test_register_signs_exactly_the_claims_of_the_contract(client: FlaskClient) -> None:
    before = int(time.time())

    token = try_register(client, email="Ada@Example.com").get_json()["token"]

    header, claims = jwt.get_unverified_header(token), jwt.decode(token, SECRET_KEY, algorithms=["HS256"])
    issued_at, token_id = claims.pop("iat"), claims.pop("jti")
    assert header == {"alg": "HS256", "typ": "at+jwt"}
    assert claims == {"id": 1, "email": "ada@example.com", "sub": "1", "sid": 1, "exp": issued_at + 3600}
    assert before <= issued_at <= time.time()
    assert isinstance(token_id, str)
    assert len(token_id) >= 16


def test_register_gives_every_token_its_own_id(client: FlaskClient) -> None:
    tokens = [
        try_register(client, username=name, email=f"{name}@x.io").get_json()["token"]
        for name in ("ada", "bob")
    ]

    ids = {jwt.decode(token, SECRET_KEY, algorithms=["HS256"])["jti"] for token in tokens}
    assert len(ids) == 2


def test_register_uses_the_lifetime_of_the_settings(client_of: ClientOf) -> None:
    body = try_register(client_of(jwt_expires_seconds=60)).get_json()

    claims = jwt.decode(body["token"], SECRET_KEY, algorithms=["HS256"])
    assert body["expires_in"] == 60
    assert claims["exp"] - claims["iat"] == 60


def test_register_stores_the_row(client: FlaskClient, sql: Sql) -> None:
    try_register(
        client, username=" Ada ", email=" Ada@Example.COM\n", first_name=" Ada ", last_name="\tKing\n"
    )

    rows = sql("SELECT id, username, email, first_name, last_name FROM users")
    assert rows == [(1, "Ada", "ada@example.com", "Ada", "King")]


def test_register_shows_the_username_as_typed(client: FlaskClient, sql: Sql) -> None:
    body = try_register(client, username="AdaL").get_json()

    assert (body["username"], body["user"]["username"]) == ("AdaL", "AdaL")
    assert sql("SELECT username FROM users") == [("AdaL",)]


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
    client: FlaskClient, ada: Actor, sql: Sql, second: dict[str, Any], code: str
) -> None:
    answer = try_register(client, **second)

    assert answer.status_code == 409
    assert answer.get_json().keys() == {"error", "code"}
    assert answer.get_json()["code"] == code
    assert sql("SELECT username, email FROM users") == [("ada", "ada@example.com")]


def test_register_of_a_taken_username_and_email_is_409(client: FlaskClient, ada: Actor, sql: Sql) -> None:
    answer = try_register(client, username="Ada", email="Ada@example.com")

    assert answer.status_code == 409
    assert answer.get_json()["code"] in ("username_taken", "email_taken")
    assert sql("SELECT count(*) FROM users") == [(1,)]


def test_register_of_what_an_older_row_holds_in_other_case_is_409(client: FlaskClient, sql: Sql) -> None:
    sql("INSERT INTO users (username, email, password) VALUES ('Old User!', 'Old@Example.com', '-')")

    answer = try_register(client, email="old@example.com")

    assert answer.get_json()["code"] == "email_taken"


def test_register_stores_nothing_when_the_hash_queue_is_full(
    make_database: MakeDatabase,
) -> None:
    url = make_database()
    client = app_without_hash_slots(url).test_client()

    answer = try_register(client)

    assert (answer.status_code, answer.get_json()["code"]) == (503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert run_sql(url, "SELECT id FROM users") == []


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
            time.sleep(0.01)  # Retry-After asks for longer
        return answer.status_code

    with ThreadPoolExecutor(RACERS) as pool:
        statuses = list(pool.map(race, range(RACERS)))

    assert sorted(statuses) == [201] + [409] * (RACERS - 1)
    assert sql("SELECT count(*) FROM users") == [(1,)]
