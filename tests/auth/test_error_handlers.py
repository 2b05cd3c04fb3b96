"""Failures outside the routes: unknown addresses and methods, malformed requests, unexpected errors."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support import PASSWORD
from tests.support.actor import LOGIN, ME, REGISTER
from tests.support.answers import JSON, ORIGIN
from tests.support.registrations import ADA


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nowhere",
        "/api",
        "/api/",
        "/api/auth",
        "/api/auth/",
        "/api/auth/nowhere",
        "/api/auth/me/",
        "/health/",
        "/Health",
        "/static/app.py",
        "/api//auth/me",
        "/api/auth//login",
        "/api/auth/../auth/me",
        "/health/live\n",
    ],
)
def test_unknown_address_is_404(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open("/", method=method, environ_overrides={"PATH_INFO": path})

    assert answer.status_code == 404
    assert answer.get_json() == {"error": "There is nothing at this address.", "code": "not_found"}
    assert "Location" not in answer.headers


@pytest.mark.parametrize(("path", "status"), [("//health", 200), ("//api/auth/me", 401), ("//nowhere", 404)])
def test_leading_double_slash_is_answered_without_a_redirect(
    client: FlaskClient, path: str, status: int
) -> None:
    answer = client.open("/", environ_overrides={"PATH_INFO": path})

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == JSON
    assert "Location" not in answer.headers
    assert "Cache-Control" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", REGISTER, {"POST", "OPTIONS"}),
        ("HEAD", LOGIN, {"POST", "OPTIONS"}),
        ("PUT", LOGIN, {"POST", "OPTIONS"}),
        ("PATCH", REGISTER, {"POST", "OPTIONS"}),
        ("POST", ME, {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("PUT", ME, {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("POST", "/health", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/health/live", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", LOGIN, {"POST", "OPTIONS"}),
        ("BREW", LOGIN, {"POST", "OPTIONS"}),
    ],
)
def test_unsupported_method_is_405_with_the_supported_ones(
    client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.open(path, method=method)

    assert answer.status_code == 405
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == allowed
    if method != "HEAD":
        assert answer.get_json() == {
            "error": "This address does not support that method.",
            "code": "method_not_allowed",
        }


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (REGISTER, {"POST", "OPTIONS"}),
        (ME, {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("/health", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_options_is_204_with_the_supported_methods(client: FlaskClient, path: str, allowed: set[str]) -> None:
    answer = client.options(path)

    assert (answer.status_code, answer.data) == (204, b"")
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == allowed


def test_options_of_an_unknown_address_is_404(client: FlaskClient) -> None:
    answer = client.options("/api/nowhere", headers={"Origin": ORIGIN})

    assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")


def test_malformed_host_is_400(client: FlaskClient) -> None:
    answer = client.get("/health/live", headers={"Host": "a..b"})

    assert answer.status_code == 400
    assert answer.get_json() == {"error": "The request could not be understood.", "code": "bad_request"}


def test_unexpected_error_is_500_without_details(client_of_a_broken_row: FlaskClient) -> None:
    answer = client_of_a_broken_row.post(LOGIN, json=ADA)

    assert answer.status_code == 500
    assert answer.get_json() == {"error": "Something went wrong on our side.", "code": "internal_error"}


def test_unexpected_error_is_logged_in_one_line_without_its_text(
    client_of_a_broken_row: FlaskClient, log_lines: list[dict[str, Any]]
) -> None:
    client_of_a_broken_row.post(LOGIN, json=ADA)

    lines = [line for line in log_lines if line["level"] == "ERROR"]
    assert len(lines) == 1
    assert lines[0]["exception"] == "ValueError"
    assert any("find_by_login" in frame for frame in lines[0]["frames"])
    assert not [word for word in ("Traceback", "20000", "$2b$", PASSWORD) if word in str(log_lines)]


def test_service_keeps_answering_after_an_unexpected_error(client_of_a_broken_row: FlaskClient) -> None:
    statuses = [client_of_a_broken_row.post(LOGIN, json=ADA).status_code for _ in range(20)]

    assert statuses == [500] * 20
    assert client_of_a_broken_row.get("/health").status_code == 200


def test_malformed_request_is_logged_with_its_fields_but_no_value(
    client: FlaskClient, log_lines: list[dict[str, Any]]
) -> None:
    client.post(REGISTER, json={"username": "sp ace", "email": "nowhere", "password": "short"})

    warnings = [line["message"] for line in log_lines if line["level"] == "WARNING"]
    assert warnings == ["malformed_request code=validation_failed fields=username,email,password"]
    assert not [value for value in ("sp ace", "nowhere", "short") if value in str(log_lines)]
