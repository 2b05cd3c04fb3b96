"""X-Request-ID: the client's or a new one, on every answer and in every log line."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.actor import LOGIN
from tests.support.registrations import ADA


@pytest.mark.parametrize(
    "request_id",
    [
        pytest.param("a", id="one letter"),
        pytest.param("0", id="one digit"),
        pytest.param("req-7f3a.B_2", id="every kind of character"),
        pytest.param("x" * 64, id="64 characters"),
        pytest.param("550e8400-e29b-41d4-a716-446655440000", id="UUID"),
    ],
)
def test_request_id_of_the_client_is_kept(client: FlaskClient, request_id: str) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": request_id})

    assert answer.headers.getlist("X-Request-ID") == [request_id]


@pytest.mark.parametrize(
    "request_id",
    [
        pytest.param("", id="empty"),
        pytest.param(" ", id="blank"),
        pytest.param("x" * 65, id="65 characters"),
        pytest.param("a b", id="space"),
        pytest.param("a/b", id="slash"),
        pytest.param("a,b", id="comma"),
        pytest.param("a;b", id="semicolon"),
        pytest.param('{"a":1}', id="JSON"),
        pytest.param("\u00e4", id="umlaut"),
        pytest.param("<script>", id="HTML"),
        pytest.param("a\tb", id="tab"),
        pytest.param("a:b", id="colon"),
    ],
)
def test_request_id_that_is_not_plain_is_replaced(client: FlaskClient, request_id: str) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": request_id})

    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_request_id_is_new_for_every_request(client: FlaskClient) -> None:
    ids = {client.get("/health/live").headers["X-Request-ID"] for _ in range(20)}

    assert len(ids) == 20


def test_request_id_is_in_every_log_line(client: FlaskClient, log_lines: list[dict[str, Any]]) -> None:
    client.post(LOGIN, json=ADA, headers={"X-Request-ID": "mine"})

    assert {line["logger"] for line in log_lines} == {"auth", "access"}
    assert {line["request_id"] for line in log_lines} == {"mine"}


def test_request_id_is_in_the_log_lines_of_an_unexpected_error(
    client_of_a_broken_row: FlaskClient, log_lines: list[dict[str, Any]]
) -> None:
    client_of_a_broken_row.post(LOGIN, json=ADA, headers={"X-Request-ID": "mine"})

    assert len(log_lines) == 2
    assert {line["request_id"] for line in log_lines} == {"mine"}
