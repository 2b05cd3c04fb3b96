"""openapi.yaml says what the code does, no more and no less; conftest.py compares every answer with it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import openapi_spec_validator
import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth import validation
from auth.errors import REGISTRY
from tests.support import PASSWORD, contract, raised_codes
from tests.support.contract import Answer

OPERATIONS = list(contract.operations())
IDS = [f"{method} {path}" for method, path, _ in OPERATIONS]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
ANYWHERE = {"bad_request", "internal_error"}  # before and behind every view
NOBODY = {"username": "", "email": "", "first_name": None, "last_name": None}
BODIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "POST /api/auth/register": lambda body: validation.registration(body, password_min_length=8),
    "POST /api/auth/login": validation.login,
    "PATCH /api/auth/me": lambda body: validation.profile(body, NOBODY),
    "DELETE /api/auth/me": validation.password,
    "PUT /api/auth/me/password": lambda body: validation.password_change(body, password_min_length=8),
    "POST /api/auth/refresh": validation.refresh_token,
    "POST /api/auth/logout": validation.refresh_token,
}


def served(app: Flask) -> dict[tuple[str, str], str]:
    """Return the endpoint of every method and path of the URL map."""
    return {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)): rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def view_of(app: Flask, method: str, path: str) -> Callable[..., Any]:
    return app.view_functions[served(app)[method, path]]


def error_answers(operation: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    for status, answer in operation["responses"].items():
        if int(status) >= 400:
            yield int(status), answer["content"]["application/json"]


def described_codes(operation: dict[str, Any]) -> set[str]:
    return {code for _, content in error_answers(operation) for code in content["examples"]}


def test_contract_is_valid_openapi() -> None:
    openapi_spec_validator.validate(contract.load())


def test_contract_as_json_is_that_as_yaml() -> None:
    assert contract.COPY.read_text() == contract.as_json(), "run `make openapi`"


def test_contract_has_every_route_and_method_and_no_other(session_app: Flask) -> None:
    assert {(method, path) for method, path, _ in OPERATIONS} == set(served(session_app))


def test_contract_has_the_codes_of_the_registry() -> None:
    assert contract.load()["components"]["schemas"]["ErrorCode"]["enum"] == list(REGISTRY)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_operation_has_the_codes_that_its_view_raises(
    session_app: Flask, method: str, path: str, operation: dict[str, Any]
) -> None:
    raised = raised_codes.of_view(view_of(session_app, method, path))

    assert described_codes(operation) == raised | ANYWHERE


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_operation_gives_each_code_its_status_and_accepts_no_other(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    for status, content in error_answers(operation):
        example = next(iter(content["examples"].values()))["value"]
        fields = {"fields": {"email": "Email is required."}}
        accepted = {
            code
            for code in [*REGISTRY, "unheard_of"]
            if contract.accepts(content["schema"], example | {"code": code})
            or contract.accepts(content["schema"], {"error": "A sentence.", "code": code})
            or contract.accepts(content["schema"], {"error": "A sentence.", "code": code, **fields})
        }

        assert accepted == set(content["examples"])
        assert {REGISTRY[code].status for code in accepted} == {status}


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_operation_with_a_token_is_one_that_looks_at_it(
    session_app: Flask, method: str, path: str, operation: dict[str, Any]
) -> None:
    view = view_of(session_app, method, path)

    authenticates = raised_codes.refers_to(view, ("auth.guard", "authenticate"))
    insists = raised_codes.refers_to(view, ("auth.guard", "login_required"))
    both: list[dict[str, list[str]]] = [{"bearer": []}] if insists else [{"bearer": []}, {}]
    assert operation.get("security", []) == (both if authenticates else [])


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_operation_with_a_body_is_one_that_reads_it(
    session_app: Flask, method: str, path: str, operation: dict[str, Any]
) -> None:
    view = view_of(session_app, method, path)

    reads = raised_codes.refers_to(view, ("auth.guard", "json_body"))
    optional = raised_codes.refers_to(view, ("auth.guard", "optional_json_body"))
    body = operation.get("requestBody")
    assert (body is not None, bool(body and body["required"])) == (reads, reads and not optional)


class Reads(dict[str, Any]):
    """A body that remembers which of its fields were read."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body)
        self.names: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [case for case in OPERATIONS if "requestBody" in case[2]],
    ids=[name for name, case in zip(IDS, OPERATIONS, strict=True) if "requestBody" in case[2]],
)
def test_operation_has_the_fields_that_the_code_reads(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    described = operation["requestBody"]["content"]["application/json"]
    read: set[str] = set()

    for example in described["examples"].values():
        body = Reads(example["value"])
        BODIES[f"{method} {path}"](body)
        read |= body.names

    assert read | {"firstName", "lastName"} & set(described["schema"]["properties"]) == set(
        described["schema"]["properties"]
    )


def examples(node: object, where: str = "") -> Iterator[tuple[str, dict[str, Any], object]]:
    """Yield where an example stands, the schema beside it, and its value."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from examples(item, f"{where}/{number}")
    elif isinstance(node, dict):
        if "schema" in node:
            found = [(name, each["value"]) for name, each in node.get("examples", {}).items()]
            found += [("example", node["example"])] if "example" in node else []
            yield from ((f"{where}/{name}", node["schema"], value) for name, value in found)
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
    examples = contract.contract()["components"]["responses"]["InvalidBody"]["content"]["application/json"][
        "examples"
    ]

    assert list(examples) == ["validation_failed", "invalid_json", "bad_request"]


@pytest.mark.parametrize("code", REGISTRY)
def test_example_of_an_error_is_what_the_service_says(code: str) -> None:
    value = contract.load()["components"]["examples"][code]["value"]

    assert value["code"] == code
    if code == "validation_failed":
        assert value["error"] == " ".join(value["fields"].values())
    else:
        assert value == {"error": REGISTRY[code].sentence, "code": code}


STEPS = [
    ("GET", "/health", "", "healthy"),
    ("GET", "/health/live", "", "alive"),
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
        headers = {"Authorization": f"Bearer {pair['token']}"}
        answer = client.open(path, method=method, json=body or None, headers=headers)

        expected = example_of(operation["responses"][str(answer.status_code)], seen)
        assert constant(answer.get_json()) == constant(expected), (method, path, sent)
        pair |= answer.get_json()


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

    with pytest.raises(AssertionError, match=r"not what openapi\.yaml says"):
        client.get("/health/live")
