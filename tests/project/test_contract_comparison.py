"""The comparison of an answer with openapi.yaml: what it accepts, and every difference that it reports."""

from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from tests.support import PASSWORD, contract
from tests.support.contract import Answer

ME = Answer("GET", "/api/auth/me", 401, {}, b"")
GOOD = replace(
    ME,
    headers={
        "content-type": "application/json",
        "x-request-id": "1",
        "www-authenticate": "Bearer",
    },
    body=b'{"error": "A sentence.", "code": "token_missing"}',
)


def with_headers(**changes: str | None) -> Answer:
    headers = dict(GOOD.headers) | {name.replace("_", "-"): value for name, value in changes.items()}
    return replace(GOOD, headers={name: value for name, value in headers.items() if value is not None})


def test_comparison_accepts_what_is_described() -> None:
    assert contract.problems(GOOD) == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(replace(GOOD, path="/nowhere"), id="an address that is unknown"),
        pytest.param(replace(GOOD, method="PUT"), id="a method that is unknown"),
        pytest.param(replace(GOOD, status=418), id="a status"),
        pytest.param(replace(GOOD, body=b'{"error": "A sentence.", "code": "busy"}'), id="another's code"),
        pytest.param(replace(GOOD, body=b'{"error": "A sentence."}'), id="a key too few"),
        pytest.param(replace(GOOD, body=GOOD.body[:-1] + b', "more": 1}'), id="a key too many"),
        pytest.param(replace(GOOD, method="HEAD"), id="a body after HEAD"),
        pytest.param(with_headers(content_type="text/html"), id="another type"),
        pytest.param(with_headers(www_authenticate=None), id="a header too few"),
        pytest.param(with_headers(x_more="1"), id="a header too many"),
        pytest.param(with_headers(cache_control="public"), id="a header's value"),
        pytest.param(replace(with_headers(allow="GET"), method="OPTIONS", status=204, body=b""), id="Allow"),
    ],
)
def test_comparison_finds_what_is_not_described(answer: Answer) -> None:
    assert contract.problems(answer)


def test_hook_lets_a_test_fail(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        client.application.view_functions, "live", lambda: {"status": "alive", "more": PASSWORD}
    )

    with pytest.raises(AssertionError, match=r"^openapi\.yaml does not describe this: "):
        client.get("/health/live")
