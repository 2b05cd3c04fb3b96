"""openapi.yaml says what the code does, no more and no less; conftest.py compares every answer with it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import openapi_spec_validator
import pytest
from flask import Flask

from auth.errors import REGISTRY
from tests.support import contract, raised_codes
from tests.support.forms import READERS

OPERATIONS = list(contract.operations())
IDS = [f"{method} {path}" for method, path, _ in OPERATIONS]
WITH_BODY = [
    pytest.param(*case, id=name)
    for name, case in zip(IDS, OPERATIONS, strict=True)
    if "requestBody" in case[2]
]
# Where the code authenticates and reads a body: module and function.
AUTHENTICATES = ("auth.guard", "identify")
INSISTS_ON_A_TOKEN = ("auth.guard", "login_required")
READS_A_BODY = ("auth.bodies", "json_body")
READS_A_BODY_IF_ANY = ("auth.bodies", "optional_json_body")
ANYWHERE = {"bad_request", "internal_error"}  # raised before and after every view


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
        assert all(status in REGISTRY[code].statuses() for code in accepted)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_operation_with_a_token_is_one_that_looks_at_it(
    session_app: Flask, method: str, path: str, operation: dict[str, Any]
) -> None:
    view = view_of(session_app, method, path)

    authenticates = raised_codes.refers_to(view, AUTHENTICATES)
    insists = raised_codes.refers_to(view, INSISTS_ON_A_TOKEN)
    described: list[dict[str, list[str]]] = [{"bearer": []}] if insists else [{"bearer": []}, {}]
    assert operation.get("security", []) == (described if authenticates else [])


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_operation_with_a_body_is_one_that_reads_it(
    session_app: Flask, method: str, path: str, operation: dict[str, Any]
) -> None:
    view = view_of(session_app, method, path)

    reads = raised_codes.refers_to(view, READS_A_BODY)
    optional = raised_codes.refers_to(view, READS_A_BODY_IF_ANY)
    body = operation.get("requestBody")
    assert (body is not None, bool(body and body["required"])) == (reads, reads and not optional)


class ObservedBody(dict[str, Any]):
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


@pytest.mark.parametrize(("method", "path", "operation"), WITH_BODY)
def test_operation_has_the_fields_that_the_code_reads(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    described = operation["requestBody"]["content"]["application/json"]
    read: set[str] = set()

    for example in described["examples"].values():
        body = ObservedBody(example["value"])
        READERS[f"{method} {path}"](body)
        read |= body.names

    properties = set(described["schema"]["properties"])
    assert read | {"firstName", "lastName"} & properties == properties


def test_every_route_says_what_it_does(app: Flask) -> None:
    silent = [name for name, view in app.view_functions.items() if not view.__doc__]

    assert silent == []
