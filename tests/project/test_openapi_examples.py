"""The examples in openapi.yaml: each keeps its schema, and a user sends and sees the same."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from auth.errors import REGISTRY, ApiError
from tests.support import contract
from tests.support.actor import bearer

OPERATIONS = list(contract.operations())
IDS = [f"{method} {path}" for method, path, _ in OPERATIONS]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


def examples(node: object, where: str = "") -> Iterator[tuple[str, dict[str, Any], object]]:
    """Yield for each example its place in the document, its schema and its value."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from examples(item, f"{where}/{number}")
    elif isinstance(node, dict):
        if "schema" in node:
            values = [(name, each["value"]) for name, each in node.get("examples", {}).items()]
            values += [("example", node["example"])] if "example" in node else []
            yield from ((f"{where}/{name}", node["schema"], value) for name, value in values)
        for name, item in node.items():
            yield from examples(item, f"{where}/{name}")


EXAMPLES = list(examples(contract.contract()["paths"]))


@pytest.mark.parametrize(("where", "schema", "value"), EXAMPLES, ids=[each[0] for each in EXAMPLES])
def test_example_keeps_its_schema(where: str, schema: dict[str, Any], value: object) -> None:
    assert contract.accepts(schema, value)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_operation_has_an_example_of_every_json_body(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    contents = [
        body["content"]["application/json"]
        for body in bodies
        if "application/json" in body.get("content", {})
    ]

    assert path == "/openapi.json" or all(content.get("examples") for content in contents)


def test_first_example_of_a_bad_body_is_what_a_form_meets_first() -> None:
    invalid_body = contract.contract()["components"]["responses"]["InvalidBody"]

    examples = invalid_body["content"]["application/json"]["examples"]

    assert list(examples) == ["validation_failed", "invalid_json", "bad_request"]


# What the body of an error has beside its sentence and its code.
DETAILS = {"second_factor_required": ("ticket", "expires_in")}


@pytest.mark.parametrize("code", REGISTRY)
def test_example_of_an_error_is_what_the_service_says(code: str) -> None:
    value = contract.load()["components"]["examples"][code]["value"]

    assert value["code"] == code
    if code == "validation_failed":
        assert value["error"] == " ".join(value["fields"].values())
    else:
        details = {name: value[name] for name in DETAILS.get(code, ())}
        assert value == ApiError(code, retry_after=value.get("retry_after"), details=details).body()
    assert ("retry_after" in value) == (REGISTRY[code].status == 429)


# Method, path, the example that is sent, the example that is answered.
STEPS = [
    ("GET", "/health", "", "healthy"),
    ("GET", "/health/live", "", "alive"),
    ("GET", "/api/auth/features", "", "plain"),
    ("POST", "/api/auth/register", "full", "ada"),
    ("POST", "/api/auth/login", "email", "ada"),
    ("GET", "/api/auth/me", "", "ada"),
    ("POST", "/api/auth/refresh", "ada", "ada"),
    ("GET", "/api/auth/sessions", "", "two"),
    ("PATCH", "/api/auth/me", "name", "name"),
    ("PATCH", "/api/auth/me", "email", "email"),
    ("PUT", "/api/auth/me/password", "ada", "ada"),
]
VARIES = {"token", "refresh_token", "timestamp"} | {"created_at", "createdAt", "last_used_at", "expires_at"}


def constant(body: Any) -> Any:
    """Return `body` without the values that differ from one run to the next."""
    if isinstance(body, list):
        return [constant(item) for item in body]
    if not isinstance(body, dict):
        return body
    return {key: None if key in VARIES else constant(value) for key, value in body.items()}


def example_of(described: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an example of a request's or an answer's body; {} when `name` is empty."""
    value: dict[str, Any] = (
        described["content"]["application/json"]["examples"][name]["value"] if name else {}
    )
    return value


def test_examples_are_what_a_user_sends_and_sees(client: FlaskClient) -> None:
    client.environ_base["HTTP_USER_AGENT"] = BROWSER
    pair = {"token": "", "refresh_token": ""}

    for method, path, sent, seen in STEPS:
        operation = contract.contract()["paths"][path][method.lower()]
        body = example_of(operation.get("requestBody", {}), sent)
        body |= {"refresh_token": pair["refresh_token"]} if "refresh_token" in body else {}

        answer = client.open(path, method=method, json=body or None, headers=bearer(pair["token"]))

        expected = example_of(operation["responses"][str(answer.status_code)], seen)
        assert constant(answer.get_json()) == constant(expected), (method, path, sent)
        pair |= answer.get_json()
