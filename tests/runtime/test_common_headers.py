"""What every answer has: the common headers, JSON, and a sentence with a code if it is an error."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.actor import ClientOf
from tests.support.answers import ANSWERS, JSON, send

CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'"
ERRORS = [case for case in ANSWERS if int(str(case.id)[:3]) >= 400]


@pytest.mark.parametrize(("client_name", "call", "status"), ANSWERS)
def test_every_answer_carries_the_common_headers(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int
) -> None:
    answer = send(request, client_name, call)

    assert answer.status_code == status
    assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert answer.headers.getlist("Referrer-Policy") == ["no-referrer"]
    assert answer.headers.getlist("Content-Security-Policy") == [CONTENT_POLICY]
    assert "Strict-Transport-Security" not in answer.headers
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])
    assert answer.headers.getlist("Vary") == ["Origin"]
    private = call["path"].startswith("/api/") and status < 300
    assert answer.headers.get("Cache-Control") == ("no-store" if private else None)


@pytest.mark.parametrize(("client_name", "call", "status"), ANSWERS)
def test_every_answer_is_json_or_empty(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int
) -> None:
    answer = send(request, client_name, call)

    if status == 204:
        assert (answer.data, answer.headers.get("Content-Type")) == (b"", None)
    else:
        assert answer.headers["Content-Type"] == JSON
        assert isinstance(answer.get_json(), dict)


@pytest.mark.parametrize(("client_name", "call", "status"), ERRORS)
def test_every_error_has_a_sentence_and_a_code(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int
) -> None:
    body = send(request, client_name, call).get_json()

    assert re.fullmatch(r"[a-z_]+", body["code"])
    assert isinstance(body["error"], str)
    assert " " in body["error"]
    assert body.keys() <= {"error", "code", "fields", "status", "service", "database", "timestamp"}


@pytest.mark.parametrize(
    ("hops", "headers", "is_strict"),
    [
        pytest.param(1, {"X-Forwarded-Proto": "https"}, True, id="https"),
        pytest.param(1, {"X-Forwarded-Proto": "http, https"}, True, id="forged http"),
        pytest.param(2, {"X-Forwarded-Proto": "https"}, True, id="https, two proxies"),
        pytest.param(1, {"X-Forwarded-Proto": "http"}, False, id="http"),
        pytest.param(1, {"X-Forwarded-Proto": "https, http"}, False, id="forged https"),
        pytest.param(1, {}, False, id="nothing"),
        pytest.param(
            1,
            {"X-Forwarded-Ssl": "on", "X-Forwarded-Protocol": "ssl", "Forwarded": "proto=https"},
            False,
            id="other headers",
        ),
        pytest.param(0, {"X-Forwarded-Proto": "https"}, False, id="no proxy, forged https"),
    ],
)
@pytest.mark.parametrize("path", ["/health/live", "/docs", "/nowhere"])
def test_browser_is_told_to_stay_with_https_where_a_trusted_proxy_says_https(
    client_of: ClientOf, hops: int, headers: dict[str, str], is_strict: bool, path: str
) -> None:
    answer = client_of(trusted_proxies=hops).get(path, headers=headers)

    assert answer.headers.getlist("Strict-Transport-Security") == ["max-age=31536000"] * is_strict


def test_https_that_no_trusted_proxy_tells_of_is_not_made_strict(client: FlaskClient) -> None:
    answer = client.get("/health/live", base_url="https://localhost")

    assert "Strict-Transport-Security" not in answer.headers
