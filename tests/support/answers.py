"""One call for every kind of answer that the service gives."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.actor import LOGIN, ME, REGISTER
from tests.support.registrations import ADA

JSON = "application/json"
ORIGIN = "http://localhost:3000"
MAX_BODY_BYTES = 65536


# The fixture that makes the client, what the client sends, the status.
ANSWERS = [
    pytest.param("client", {"path": "/health"}, 200, id="200 health"),
    pytest.param("client", {"path": "/health/live"}, 200, id="200 live"),
    pytest.param("client", {"path": REGISTER, "method": "POST", "json": ADA}, 201, id="201"),
    pytest.param("client", {"path": REGISTER, "method": "OPTIONS"}, 204, id="204"),
    pytest.param("client", {"path": LOGIN, "method": "POST", "json": {}}, 400, id="400 fields"),
    pytest.param(
        "client", {"path": LOGIN, "method": "POST", "data": "{", "content_type": JSON}, 400, id="400 body"
    ),
    pytest.param("client", {"path": LOGIN, "method": "POST", "json": ADA}, 401, id="401 login"),
    pytest.param("client", {"path": ME}, 401, id="401 me"),
    pytest.param("client", {"path": "/api/nowhere"}, 404, id="404"),
    pytest.param("client", {"path": LOGIN}, 405, id="405"),
    pytest.param("client_of_a_broken_row", {"path": REGISTER, "method": "POST", "json": ADA}, 409, id="409"),
    pytest.param(
        "client",
        {"path": REGISTER, "method": "POST", "data": b"x" * (MAX_BODY_BYTES + 1), "content_type": JSON},
        413,
        id="413",
    ),
    pytest.param("client", {"path": LOGIN, "method": "POST", "data": "{}"}, 415, id="415"),
    pytest.param("client_of_a_broken_row", {"path": LOGIN, "method": "POST", "json": ADA}, 500, id="500"),
    pytest.param("client_without_database", {"path": LOGIN, "method": "POST", "json": ADA}, 503, id="503"),
    pytest.param("client_without_database", {"path": "/health"}, 503, id="503 health"),
]


def send(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], **headers: str
) -> TestResponse:
    client: FlaskClient = request.getfixturevalue(client_name)
    return client.open(**call, headers=headers)


def cors_headers(answer: TestResponse) -> list[str]:
    """Return the names of the CORS headers of an answer."""
    return [name for name in answer.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118
