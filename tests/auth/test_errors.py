"""The registry of codes, and that every code is reached with its status, its sentence and its headers."""

import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auth import errors
from auth.errors import ApiError
from runtime.settings import Rate
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import LOGIN, ME, REFRESH, REGISTER, Actor, ClientOf, bearer
from tests.support.answers import JSON
from tests.support.apps import app_on
from tests.support.database import MakeDatabase, run_sql
from tests.support.mails import mail_settings
from tests.support.registrations import ADA
from tests.support.second_factors import DISABLE, ENABLE, SECOND_STEP, SETUP, WRONG_CODE, enrol
from tests.support.verification import RESEND, VERIFY, new_token, verify

STATUS_OF_CODE = {
    "bad_request": 400,
    "invalid_json": 400,
    "validation_failed": 400,
    "link_invalid": 400,
    "code_invalid": 400,
    "invalid_credentials": 401,
    "second_factor_required": 401,
    "ticket_invalid": 401,
    "token_missing": 401,
    "token_expired": 401,
    "token_invalid": 401,
    "refresh_invalid": 401,
    "refresh_reused": 401,
    "wrong_password": 403,
    "email_not_verified": 403,
    "feature_off": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "username_taken": 409,
    "email_taken": 409,
    "already_verified": 409,
    "two_factor_on": 409,
    "two_factor_off": 409,
    "setup_required": 409,
    "account_in_use": 409,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "rate_limited": 429,
    "too_many_attempts": 429,
    "internal_error": 500,
    "busy": 503,
    "database_unavailable": 503,
}


def bearer_of(**claims: object) -> dict[str, str]:
    return bearer(jwt.encode(claims, SECRET_KEY, algorithm="HS256"))


@pytest.fixture(scope="module")
def stocked(make_database: MakeDatabase) -> Iterator[FlaskClient]:
    """A client of a service where ada, user 1, is registered and another service refers to her."""
    url = make_database()
    app = app_on(url)
    Actor(app.test_client()).register()
    run_sql(url, "CREATE TABLE streams (user_id INTEGER REFERENCES users (id))")
    run_sql(url, "INSERT INTO streams VALUES (1)")
    yield app.test_client()
    app.extensions["auth"].database.close()


@pytest.fixture
def client_of_a_used_up_address(client_of: ClientOf) -> FlaskClient:
    client = client_of(limit_address_failures=Rate(1, "1h"))
    client.post(REFRESH, json={"refresh_token": "x"})
    return client


@pytest.fixture
def client_of_a_used_up_account(client_of: ClientOf) -> FlaskClient:
    client = client_of(limit_account_failures=Rate(1, "1h"))
    client.post(LOGIN, json=ADA)
    return client


@pytest.fixture
def client_with_mail(client_of: ClientOf) -> FlaskClient:
    return client_of(mail=mail_settings())


@pytest.fixture
def client_of_an_unverified_user(client_of: ClientOf) -> FlaskClient:
    client = client_of(mail=mail_settings(require_verified_email=True))
    client.post(REGISTER, json=ADA)
    return client


@pytest.fixture
def client_of_a_verified_user(client_with_mail: FlaskClient) -> FlaskClient:
    Actor(client_with_mail).register()
    verify(client_with_mail, new_token(client_with_mail.application))
    return client_with_mail


@pytest.fixture
def enrolled(client: FlaskClient) -> FlaskClient:
    """A client of a service where ada, user 1, has a second factor."""
    enrol(Actor(client).register())
    return client


@pytest.fixture
def reused(stocked: FlaskClient) -> FlaskClient:
    """A client that replays a refresh token which was replaced twice, whatever body it is told to send."""
    ada = Actor(stocked).log_in()
    replayed = ada.pair["refresh_token"]
    ada.refresh().refresh()
    return _Replaying(stocked.application, {"refresh_token": replayed})


class _Replaying(FlaskClient):
    def __init__(self, app: Flask, body: dict[str, str]) -> None:
        super().__init__(app, app.response_class)
        self._body = body

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return super().open(*args, **kwargs, json=self._body)


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


def post(path: str, **call: object) -> dict[str, Any]:
    return {"path": path, "method": "POST", **call}


def delete(path: str, **call: object) -> dict[str, Any]:
    return {"path": path, "method": "DELETE", **call}


ADAS = bearer_of(id=1, exp=int(time.time()) + 3600)
CONFIRMATION = {"password": PASSWORD, "code": WRONG_CODE}
# By code: the fixture that makes the client, and what the client sends.
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "bad_request": ("stocked", {"path": "/health/live", "headers": {"Host": "a..b"}}),
    "invalid_json": ("stocked", post(LOGIN, data="{", content_type=JSON)),
    "validation_failed": ("stocked", post(LOGIN, json={})),
    "link_invalid": ("client_with_mail", post(VERIFY, json={"token": "x"})),
    "invalid_credentials": ("stocked", post(LOGIN, json=ADA | {"password": "wrong"})),
    "code_invalid": ("enrolled", post(DISABLE, json=CONFIRMATION, headers=ADAS)),
    "second_factor_required": ("enrolled", post(LOGIN, json=ADA)),
    "ticket_invalid": ("stocked", post(SECOND_STEP, json={"ticket": "x", "code": WRONG_CODE})),
    "token_missing": ("stocked", {"path": ME}),
    "token_expired": ("stocked", {"path": ME, "headers": bearer_of(id=1, exp=1_700_000_000)}),
    "token_invalid": ("stocked", {"path": ME, "headers": bearer_of(id=99, exp=int(time.time()) + 3600)}),
    "refresh_invalid": ("stocked", post(REFRESH, json={"refresh_token": "x"})),
    "refresh_reused": ("reused", post(REFRESH)),
    "wrong_password": ("stocked", delete(ME, json={"password": "x"}, headers=ADAS)),
    "email_not_verified": ("client_of_an_unverified_user", post(LOGIN, json=ADA)),
    "feature_off": ("stocked", post(VERIFY, json={"token": "x"})),
    "already_verified": ("client_of_a_verified_user", post(RESEND, headers=ADAS)),
    "two_factor_on": ("enrolled", post(SETUP, json=CONFIRMATION, headers=ADAS)),
    "two_factor_off": ("stocked", post(DISABLE, json=CONFIRMATION, headers=ADAS)),
    "setup_required": ("stocked", post(ENABLE, json=CONFIRMATION, headers=ADAS)),
    "account_in_use": ("stocked", delete(ME, json={"password": PASSWORD}, headers=ADAS)),
    "not_found": ("stocked", {"path": "/nowhere"}),
    "method_not_allowed": ("stocked", {"path": LOGIN}),
    "username_taken": ("stocked", post(REGISTER, json=ADA | {"email": "b@x.io"})),
    "email_taken": ("stocked", post(REGISTER, json=ADA | {"username": "bob"})),
    "body_too_large": ("stocked", post(LOGIN, data="x" * 70_000, content_type=JSON)),
    "unsupported_media_type": ("stocked", post(LOGIN, data="{}")),
    "rate_limited": ("client_of_a_used_up_address", post(REFRESH, json={"refresh_token": "x"})),
    "too_many_attempts": ("client_of_a_used_up_account", post(LOGIN, json=ADA)),
    "internal_error": ("client_of_a_broken_row", post(LOGIN, json=ADA)),
    "busy": ("client_without_hash_slots", post(LOGIN, json=ADA)),
    "database_unavailable": ("client_without_database", post(LOGIN, json=ADA)),
}


def answer_with(request: pytest.FixtureRequest, code: str) -> TestResponse:
    """Return the answer that is to have `code`."""
    client_name, call = CALLS[code]
    client: FlaskClient = request.getfixturevalue(client_name)
    return client.open(**call)


@pytest.mark.parametrize("code", errors.REGISTRY)
def test_code_is_reached_with_its_status_and_sentence(request: pytest.FixtureRequest, code: str) -> None:
    answer = answer_with(request, code)

    body = answer.get_json()
    assert (body["code"], answer.status_code) == (code, errors.REGISTRY[code].status)
    if code == "validation_failed":
        assert body.keys() == {"error", "code", "fields"}
    elif code == "invalid_json":
        assert body == {"error": "The request body is not valid JSON at line 1, column 2.", "code": code}
    elif answer.status_code == 429:
        assert body == {"error": errors.REGISTRY[code].sentence, "code": code, "retry_after": 3600}
    else:
        details = ["ticket", "expires_in"] if code == "second_factor_required" else []
        assert {name: value for name, value in body.items() if name not in details} == {
            "error": errors.REGISTRY[code].sentence,
            "code": code,
        }
    assert answer.text.endswith("}\n")


@pytest.mark.parametrize("code", ["busy", "database_unavailable"])
def test_503_says_when_to_retry_in_whole_seconds(request: pytest.FixtureRequest, code: str) -> None:
    answer = answer_with(request, code)

    assert 1 <= int(answer.headers["Retry-After"]) <= 60


@pytest.mark.parametrize("code", [code for code in STATUS_OF_CODE if STATUS_OF_CODE[code] == 429])
def test_429_says_when_to_retry_in_the_header_and_in_the_body(
    request: pytest.FixtureRequest, code: str
) -> None:
    answer = answer_with(request, code)

    assert answer.headers["Retry-After"] == str(answer.get_json()["retry_after"]) == "3600"


@pytest.mark.parametrize("code", [code for code in STATUS_OF_CODE if STATUS_OF_CODE[code] not in (429, 503)])
def test_other_errors_do_not_ask_to_retry(request: pytest.FixtureRequest, code: str) -> None:
    answer = answer_with(request, code)

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
    answer = answer_with(request, code)

    assert answer.headers.getlist("WWW-Authenticate") == [challenge]


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
