"""openapi.yaml as the tests read it: which operation a call is, and how an answer differs from it.

The comparison is stricter than the file: an object may only have keys that its schema names. So neither the
code nor the file gains a field alone.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from tests.support import ROOT

METHODS = ("get", "post", "put", "patch", "delete")
# Headers that every answer has, or that only browsers read. The file describes them once, in `info`.
COMMON_HEADERS = {"content-type", "content-length", "vary", "x-content-type-options"}
COMMON_HEADERS |= {"referrer-policy", "content-security-policy", "strict-transport-security"}
SERVER_HEADERS = {"server", "date", "connection", "transfer-encoding"}  # gunicorn's

SOURCE = ROOT / "openapi.yaml"
COPY = ROOT / "ops" / "openapi.json"


@dataclass(frozen=True)
class Answer:
    """One answer, with the method and path of its request. Names of headers are in lower case."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def code(self) -> str | None:
        """Return the error code. Returns None if the body has none."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return None
        return parsed.get("code") if isinstance(parsed, dict) else None


def load() -> dict[str, Any]:
    """Return openapi.yaml without any change."""
    document: dict[str, Any] = yaml.safe_load(SOURCE.read_text())
    return document


def as_json() -> str:
    """Return the text of openapi.json."""
    return json.dumps(load(), indent=1, ensure_ascii=False) + "\n"


@cache
def contract() -> dict[str, Any]:
    """Return openapi.yaml with each $ref replaced by its target, and objects that allow no further key."""
    document = load()

    def inlined(node: Any) -> Any:
        if isinstance(node, list):
            return [inlined(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            beside = {key: value for key, value in node.items() if key != "$ref"}
            node = _target_of(document, node["$ref"]) | beside
        node = {key: inlined(value) for key, value in node.items()}
        if node.get("type") == "object" and "properties" in node:
            node["unevaluatedProperties"] = False
        return node

    whole: dict[str, Any] = inlined(document)
    return whole


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the method in capitals, the path and the description of every operation."""
    for path, item in contract()["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def problems(answer: Answer) -> list[str]:
    """Return a sentence for every difference between `answer` and the contract."""
    described = _described(answer)
    if described is None:
        return [f"{answer.status} is not among the answers"]
    return [*_header_problems(described, answer), *_body_problems(described, answer)]


def require_described(answer: TestResponse) -> None:
    """Raise AssertionError if the answer that a test client received differs from the contract."""
    environ = answer.request.environ
    headers = {name.lower(): value for name, value in answer.headers.items()}
    received = Answer(
        environ["REQUEST_METHOD"].upper(), environ["PATH_INFO"], answer.status_code, headers, answer.data
    )
    differences = problems(received)
    assert not differences, f"openapi.yaml does not describe this: {'; '.join(differences)}. {received}"


def accepts(schema: dict[str, Any], value: object) -> bool:
    return _validator(json.dumps(schema)).is_valid(value)


def _described(answer: Answer) -> dict[str, Any] | None:
    """Return the description of the answer. Returns None if the contract has none."""
    shared = contract()["components"]["responses"]
    methods = _path_item(answer.path)
    operation = (methods or {}).get({"HEAD": "get"}.get(answer.method, answer.method.lower()))
    if operation:
        response: dict[str, Any] | None = operation["responses"].get(str(answer.status))
        return response
    if methods and answer.method == "OPTIONS":
        private = shared["Done"]["headers"] if answer.path.startswith("/api/") else {}
        preflight = {"headers": shared["MethodNotAllowed"]["headers"] | private}
        return preflight if answer.status == 204 else None
    general = {405 if methods else 404: "MethodNotAllowed" if methods else "NotFound", 400: "BadRequest"}
    return shared[general[answer.status]] if answer.status in general else None


def _path_item(path: str) -> dict[str, Any] | None:
    path = f"/{path.lstrip('/')}"  # Werkzeug ignores further slashes at the start
    for pattern, item in _patterns():
        if pattern.fullmatch(path):
            return item
    return None


@cache
def _patterns() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    def pattern(path: str, item: dict[str, Any]) -> re.Pattern[str]:
        types = {each["name"]: each["schema"].get("type") for each in item.get("parameters", ())}
        parts = re.split(r"\{(\w+)\}", path)
        parts[::2] = map(re.escape, parts[::2])
        parts[1::2] = [r"\d+" if types[name] == "integer" else "[^/]+" for name in parts[1::2]]
        return re.compile("".join(parts))

    return [(pattern(path, item), item) for path, item in contract()["paths"].items()]


def _header_problems(described: dict[str, Any], answer: Answer) -> Iterator[str]:
    headers = {name.lower(): header for name, header in described.get("headers", {}).items()}
    for name, header in headers.items():
        if name not in answer.headers:
            if header.get("required"):
                yield f"the header {name} is missing"
        elif not accepts(header["schema"], answer.headers[name]):
            yield f"the header {name} is {answer.headers[name]!r}"
    for name in answer.headers.keys() - headers.keys() - COMMON_HEADERS - SERVER_HEADERS:
        if not name.startswith("access-control-"):
            yield f"the header {name} is not described"
    if "allow" in headers and _allowed(answer.path) != set(answer.headers.get("allow", "").split(", ")):
        yield f"the header allow is {answer.headers.get('allow')!r}"


def _allowed(path: str) -> set[str]:
    methods = {method.upper() for method in _path_item(path) or {} if method in METHODS}
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


def _body_problems(described: dict[str, Any], answer: Answer) -> Iterator[str]:
    if answer.method == "HEAD" or "content" not in described:
        if answer.body:
            yield "there is a body"
        return
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind not in described["content"]:
        yield f"the body is {kind or 'of no type'}"
    elif kind == "application/json":
        schema = described["content"][kind]["schema"]
        errors = _validator(json.dumps(schema)).iter_errors(json.loads(answer.body))
        yield from (f"{error.json_path}: {error.message}" for error in errors)


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))


def _target_of(document: dict[str, Any], pointer: str) -> dict[str, Any]:
    node: Any = document
    for name in pointer.removeprefix("#/").split("/"):
        node = node[name]
    assert isinstance(node, dict)
    return node


if __name__ == "__main__":
    COPY.write_text(as_json())
