"""CORS: who may read the answers from a browser."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.actor import LOGIN
from tests.support.answers import ANSWERS, ORIGIN, cors_headers, send
from tests.support.apps import NO_DATABASE, app_on

ALLOWED = {"authorization", "content-type", "x-request-id"}
ALLOWED |= {"traceparent", "tracestate", "baggage", "sentry-trace"}


@pytest.mark.parametrize(("client_name", "call", "status"), ANSWERS)
@pytest.mark.parametrize(
    "origin", [ORIGIN, "http://localhost:3001", "http://127.0.0.1:3000", "http://127.0.0.1:3001"]
)
def test_cors_lets_a_known_origin_read_every_answer(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int, origin: str
) -> None:
    answer = send(request, client_name, call, Origin=origin)

    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert answer.status_code == status
    assert answer.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert answer.headers.getlist("Access-Control-Allow-Credentials") == ["true"]
    assert exposed == {"Retry-After", "X-Request-ID"}
    assert answer.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize(("client_name", "call", "status"), ANSWERS)
def test_cors_lets_an_unknown_origin_read_no_answer(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int
) -> None:
    answer = send(request, client_name, call, Origin="https://evil.example")

    assert answer.status_code == status
    assert cors_headers(answer) == []
    assert answer.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "*",
        "http://localhost:3000.evil.example",
        "http://localhost:30001",
        "http://localhost:300",
        "http://localhost",
        "https://localhost:3000",
        "http://evil.example/http://localhost:3000",
        "http://xlocalhost:3000",
        "https://127.0.0.1:3000",
        "http://127.0.0.1:3002",
        "http://127.0.0.11:3000",
        f"{ORIGIN}/",
        f"{ORIGIN}, https://evil.example",
    ],
)
def test_cors_takes_no_origin_for_a_known_one(client: FlaskClient, origin: str) -> None:
    answers = [
        client.get("/health/live", headers={"Origin": origin}),
        client.options(LOGIN, headers={"Origin": origin, "Access-Control-Request-Method": "POST"}),
    ]

    assert [cors_headers(answer) for answer in answers] == [[], []]


def test_cors_says_nothing_without_an_origin(client: FlaskClient) -> None:
    answer = client.get("/health/live")

    assert cors_headers(answer) == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_cors_preflight_allows_every_method_and_is_cacheable(client: FlaskClient, method: str) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ", ".join(ALLOWED),
    }

    answer = client.options(LOGIN, headers=headers)

    methods = {name.strip() for name in answer.headers["Access-Control-Allow-Methods"].split(",")}
    allowed = {name.strip().lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert methods == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert allowed == ALLOWED
    assert int(answer.headers["Access-Control-Max-Age"]) >= 60


def test_cors_preflight_allows_no_other_header(client: FlaskClient) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-evil",
    }

    answer = client.options(LOGIN, headers=headers)

    assert "x-evil" not in answer.headers.get("Access-Control-Allow-Headers", "").lower()


@pytest.mark.parametrize(
    ("origin", "known"),
    [
        pytest.param("https://app.example.com", True, id="set"),
        pytest.param("http://[::1]:3000", True, id="an IPv6 address"),
        pytest.param("https://appxexample.com", False, id="a dot is no wildcard"),
        pytest.param("http://1:3000", False, id="brackets are no pattern"),
        pytest.param("http://[::1]:3000.evil.example", False, id="longer than an IPv6 address"),
        pytest.param(ORIGIN, False, id="the default is replaced"),
    ],
)
def test_cors_follows_the_settings(origin: str, known: bool) -> None:
    origins = ("https://app.example.com", "http://[::1]:3000")
    client = app_on(NO_DATABASE, cors_origins=origins).test_client()

    answer = client.get("/health/live", headers={"Origin": origin})

    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if known else None)
