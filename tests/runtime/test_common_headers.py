"""What every answer has: the common headers, JSON, and a sentence with a code if it is an error."""

import re
from typing import Any

import pytest

from tests.support.answers import ANSWERS, JSON, send

ERRORS = [case for case in ANSWERS if int(str(case.id)[:3]) >= 400]


@pytest.mark.parametrize(("client_name", "call", "status"), ANSWERS)
def test_every_answer_carries_the_common_headers(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int
) -> None:
    answer = send(request, client_name, call)

    assert answer.status_code == status
    assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
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
