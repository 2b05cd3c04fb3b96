"""The registry of codes, and that every code is reached with its status."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_bcrypt import Bcrypt
from psycopg2.extensions import cursor
from werkzeug.test import TestResponse

from app import create_app
from auth import errors
from auth.errors import ApiError
from auth.passwords import PasswordHasher
from config import Settings
from runtime.faults import StatementRefused
from tests.support import PASSWORD, SECRET_KEY
from tests.support.database import MakeDatabase, run_sql

REGISTER, LOGIN, ME = "/api/auth/register", "/api/auth/login", "/api/auth/me"
REFRESH = "/api/auth/refresh"
JSON = "application/json"
ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}

STATUS_OF_CODE = {
    "bad_request": 400,
    "invalid_json": 400,
    "validation_failed": 400,
    "invalid_credentials": 401,
    "token_missing": 401,
    "token_expired": 401,
    "token_invalid": 401,
    "refresh_invalid": 401,
    "refresh_reused": 401,
    "wrong_password": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "username_taken": 409,
    "email_taken": 409,
    "account_in_use": 409,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "internal_error": 500,
    "busy": 503,
    "database_unavailable": 503,
}


def client_on(db_url: str) -> FlaskClient:
    return create_app(Settings(db_url=db_url, secret_key=SECRET_KEY, bcrypt_rounds=4)).test_client()


def bearer(**claims: object) -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET_KEY, algorithm='HS256')}"}


@pytest.fixture(scope="module")
def stocked(make_database: MakeDatabase) -> FlaskClient:
    """A client of a service where ada, user 1, is registered and another service refers to her."""
    url = make_database()
    client = client_on(url)
    client.post(REGISTER, json=ADA)
    run_sql(url, "CREATE TABLE streams (user_id INTEGER REFERENCES users (id))")
    run_sql(url, "INSERT INTO streams VALUES (1)")
    return client


@pytest.fixture
def reused(stocked: FlaskClient) -> FlaskClient:
    """A client that sends a refresh token which was replaced twice, whatever else it is told to send."""
    first = stocked.post(LOGIN, json=ADA).get_json()["refresh_token"]
    second = stocked.post(REFRESH, json={"refresh_token": first}).get_json()["refresh_token"]
    stocked.post(REFRESH, json={"refresh_token": second})
    return _Sending(stocked.application, {"refresh_token": first})


class _Sending(FlaskClient):
    def __init__(self, app: Flask, body: dict[str, str]) -> None:
        super().__init__(app, app.response_class)
        self._body = body

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return super().open(*args, **kwargs, json=self._body)


@pytest.fixture(scope="module")
def broken(make_database: MakeDatabase) -> FlaskClient:
    """A client of a service with a date that Python cannot hold."""
    url = make_database()
    client = client_on(url)
    client.post(REGISTER, json=ADA)
    run_sql(url, "UPDATE users SET created_at = '20000-01-01'")
    return client


@pytest.fixture(scope="module")
def full(make_database: MakeDatabase) -> FlaskClient:
    """A client of a service without hash slots."""
    client = client_on(make_database())
    app = client.application
    slots = PasswordHasher(Bcrypt(app), rounds=4, running=0, waiting=0)
    app.extensions["auth"] = replace(app.extensions["auth"], passwords=slots)
    return client


@pytest.fixture(scope="module")
def lost() -> FlaskClient:
    """A client of a service without a database."""
    return client_on("postgresql://operator:hunter2@/users?host=/nowhere")


@pytest.mark.parametrize(("code", "status"), STATUS_OF_CODE.items())
def test_registry_has_the_status_of_the_contract(code: str, status: int) -> None:
    assert errors.REGISTRY[code].status == status


@pytest.mark.parametrize("code", errors.REGISTRY)
def test_registry_has_a_sentence_for_a_person(code: str) -> None:
    sentence = errors.REGISTRY[code].sentence

    assert sentence[0].isupper()
    assert len(sentence.split()) > 3


def test_registry_holds_no_code_that_the_tests_leave_out() -> None:
    assert set(errors.REGISTRY) == set(STATUS_OF_CODE)


POST, DELETE = {"method": "POST"}, {"method": "DELETE"}
ADAS = bearer(id=1, exp=int(time.time()) + 3600)
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "bad_request": ("stocked", {"path": "/health/live", "headers": {"Host": "a..b"}}),
    "invalid_json": ("stocked", {"path": LOGIN, "data": "{", "content_type": JSON, **POST}),
    "validation_failed": ("stocked", {"path": LOGIN, "json": {}, **POST}),
    "invalid_credentials": ("stocked", {"path": LOGIN, "json": ADA | {"password": "wrong"}, **POST}),
    "token_missing": ("stocked", {"path": ME}),
    "token_expired": ("stocked", {"path": ME, "headers": bearer(id=1, exp=1_700_000_000)}),
    "token_invalid": ("stocked", {"path": ME, "headers": bearer(id=99, exp=int(time.time()) + 3600)}),
    "refresh_invalid": ("stocked", {"path": REFRESH, "json": {"refresh_token": "x"}, **POST}),
    "refresh_reused": ("reused", {"path": REFRESH, **POST}),
    "wrong_password": ("stocked", {"path": ME, "json": {"password": "x"}, "headers": ADAS, **DELETE}),
    "account_in_use": ("stocked", {"path": ME, "json": {"password": PASSWORD}, "headers": ADAS, **DELETE}),
    "not_found": ("stocked", {"path": "/nowhere"}),
    "method_not_allowed": ("stocked", {"path": LOGIN}),
    "username_taken": ("stocked", {"path": REGISTER, "json": ADA | {"email": "b@x.io"}, **POST}),
    "email_taken": ("stocked", {"path": REGISTER, "json": ADA | {"username": "bob"}, **POST}),
    "body_too_large": ("stocked", {"path": LOGIN, "data": "x" * 70_000, "content_type": JSON, **POST}),
    "unsupported_media_type": ("stocked", {"path": LOGIN, "data": "{}", **POST}),
    "internal_error": ("broken", {"path": LOGIN, "json": ADA, **POST}),
    "busy": ("full", {"path": LOGIN, "json": ADA, **POST}),
    "database_unavailable": ("lost", {"path": LOGIN, "json": ADA, **POST}),
}


@pytest.mark.parametrize("code", errors.REGISTRY)
def test_code_is_reached_with_its_status_and_sentence(request: pytest.FixtureRequest, code: str) -> None:
    client_name, call = CALLS[code]
    client: FlaskClient = request.getfixturevalue(client_name)

    answer = client.open(**call)

    body = answer.get_json()
    assert (body["code"], answer.status_code) == (code, errors.REGISTRY[code].status)
    if code == "validation_failed":
        assert body.keys() == {"error", "code", "fields"}
    elif code == "invalid_json":
        assert body == {"error": "The request body is not valid JSON at line 1, column 2.", "code": code}
    else:
        assert body == {"error": errors.REGISTRY[code].sentence, "code": code}
    assert answer.text.endswith("}\n")


@pytest.mark.parametrize("code", ["busy", "database_unavailable"])
def test_503_says_when_to_retry_in_whole_seconds(request: pytest.FixtureRequest, code: str) -> None:
    client_name, call = CALLS[code]
    client: FlaskClient = request.getfixturevalue(client_name)

    answer = client.open(**call)

    assert 1 <= int(answer.headers["Retry-After"]) <= 60


@pytest.mark.parametrize("code", [code for code in STATUS_OF_CODE if STATUS_OF_CODE[code] != 503])
def test_other_errors_do_not_ask_to_retry(request: pytest.FixtureRequest, code: str) -> None:
    client_name, call = CALLS[code]
    client: FlaskClient = request.getfixturevalue(client_name)

    answer = client.open(**call)

    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("code", "challenge"),
    [
        ("invalid_credentials", "Bearer"),
        ("token_missing", "Bearer"),
        ("token_expired", 'Bearer error="invalid_token"'),
        ("token_invalid", 'Bearer error="invalid_token"'),
        ("refresh_invalid", 'Bearer error="invalid_token"'),
        ("refresh_reused", 'Bearer error="invalid_token"'),
    ],
)
def test_401_challenges_as_rfc_6750_says(request: pytest.FixtureRequest, code: str, challenge: str) -> None:
    client_name, call = CALLS[code]
    client: FlaskClient = request.getfixturevalue(client_name)

    answer = client.open(**call)

    assert answer.headers.getlist("WWW-Authenticate") == [challenge]


def test_pool_without_a_free_connection_is_503_busy(stocked: FlaskClient) -> None:
    services = stocked.application.extensions["auth"]
    database, size = services.database, services.settings.db_pool_size
    held, finish = threading.Semaphore(0), threading.Event()

    def hold(_: cursor) -> None:
        held.release()
        finish.wait(10)

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(database.read, hold) for _ in range(size)]
        in_use = [held.acquire(timeout=10) for _ in futures]

        answer = stocked.post(LOGIN, json=ADA)

        finish.set()
    assert all(in_use)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "busy")


def test_unavailable_database_is_logged_without_its_password(
    lost: FlaskClient, log_lines: list[dict[str, Any]]
) -> None:
    lost.post(LOGIN, json=ADA)

    messages = [line["message"] for line in log_lines if line["level"] == "ERROR"]
    assert len(messages) == 1
    assert messages[0].startswith("database_unavailable: cannot connect")
    assert "hunter2" not in str(log_lines)


def test_malformed_request_is_logged_with_its_fields_but_no_value(
    stocked: FlaskClient, log_lines: list[dict[str, Any]]
) -> None:
    stocked.post(REGISTER, json={"username": "sp ace", "email": "nowhere", "password": "short"})

    warnings = [line["message"] for line in log_lines if line["level"] == "WARNING"]
    assert warnings == ["malformed_request code=validation_failed fields=username,email,password"]
    assert not [value for value in ("sp ace", "nowhere", "short") if value in str(log_lines)]


def test_body_of_an_error_is_its_sentence_and_code() -> None:
    assert ApiError("not_found").body() == {"error": "There is nothing at this address.", "code": "not_found"}


def test_body_of_bad_fields_says_all_of_them() -> None:
    fields = {"email": "Email is required.", "password": "Password is required."}

    body = ApiError("validation_failed", fields=fields).body()

    assert body == {
        "error": "Email is required. Password is required.",
        "code": "validation_failed",
        "fields": fields,
    }


def test_statement_that_postgresql_refuses_is_500_without_its_text(make_database: MakeDatabase) -> None:
    url = make_database()
    client = client_on(url)
    run_sql(url, "ALTER TABLE users DROP COLUMN first_name")

    answer = client.post(LOGIN, json=ADA)

    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert "first_name" not in answer.text


def test_login_that_the_databases_encoding_cannot_hold_is_401(make_database: MakeDatabase) -> None:
    client = client_on(make_database("TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"))

    answer = client.post(LOGIN, json={"username": "\u0142ucja", "password": PASSWORD})

    assert (answer.status_code, answer.get_json()["code"]) == (401, "invalid_credentials")


def test_error_of_the_data_is_not_taken_for_one_of_the_database(stocked: FlaskClient) -> None:
    database = stocked.application.extensions["auth"].database

    def divide(cur: cursor) -> None:
        cur.execute("SELECT 1 / 0")

    with pytest.raises(StatementRefused, match="sqlstate=22012: division by zero"):
        database.read(divide)
