"""What the most expensive request of every kind costs in CPU time, whatever the answer is.

Python runs one thread at a time. What a stranger makes one thread compute
delays every other request: a denial of service.
"""

import gc
import io
import json
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask_bcrypt import Bcrypt
from werkzeug.test import create_environ

from app import create_app
from config import Settings
from runtime.request_buffer import MAX_HEAD_BYTES, MAX_LINE_BYTES
from tests.support import PASSWORD, yardstick
from tests.support.actor import Actor

MAX_SECONDS = 0.02

BODY_BYTES = 64 * 1024
FIELD_BYTES = MAX_LINE_BYTES  # of a header that is sent once
REPEATED_BYTES = MAX_HEAD_BYTES  # of a header that is repeated: the server joins the values
MARKS = "a" + "\u0301\u0327" * 5_000  # normalising has to reorder every pair of marks


def filled(start: str, unit: str, end: str) -> bytes:
    """Return a body of `start`, as many units as fit, with commas between, and `end`."""
    room = (BODY_BYTES - len(start) - len(end)) // (len(unit) + 1)
    return (start + ",".join([unit] * room) + end).encode()


def keys(value: str) -> bytes:
    return ("{" + ",".join(f'"{number:x}":{value}' for number in range(5800)) + "}").encode()


BODIES = {
    "marks": json.dumps(
        {"email": "a@b.cc", "password": MARKS, "current_password": MARKS, "new_password": MARKS},
        ensure_ascii=False,
    ),
    "longest passwords": json.dumps(
        {
            "email": "a@b.cc",
            "password": MARKS[:1024],
            "current_password": MARKS[:1023],
            "new_password": "x" * 8,
        }
    ),
    "longest new password": json.dumps(
        {
            "username": "x" * 50_000,
            "email": "x" * 5_000 + "@b.cc",
            "password": "\u1f82" * 256,
            "current_password": PASSWORD,
            "new_password": unicodedata.normalize("NFD", "\u1f82" * 256),
        },
        ensure_ascii=False,
    ),
    "blanks": json.dumps({"email": " " * 60_000 + "x", "password": "x"}),
    "quotes": json.dumps({"email": "'" * 60_000, "password": "x"}),
    "capitals": json.dumps({"email": "\u0130" * 30_000, "password": "x"}, ensure_ascii=False),
    "labels": json.dumps({"email": "a@" + "a." * 125 + "-", "current_password": PASSWORD}),
    "long label": json.dumps({"email": "a@" + ("a" * 63 + ".") * 3 + "a" * 50 + "!", "password": "x"}),
    "refresh token": json.dumps({"refresh_token": "a" * 60_000}),
    "escapes": '{"password": "' + "\\n" * 32_000 + '"}',
    "surrogates": filled('{"a": [', '"\\ud800"', "]}"),
    "numbers": filled('{"a": [', "1", "]}"),
    "texts": filled('{"a": [', '""', "]}"),
    "lists": filled('{"a": [', "[]", "]}"),
    "lists in lists": filled('{"a": [', "[[[[]]]]", "]}"),
    "deep lists": filled('{"a": [', "[" * 500 + "]" * 500, "]}"),
    "objects": filled('{"a": [', "{}", "]}"),
    "objects in a field": filled('{"email": [', "{}", "]}"),
    "objects with a key": filled('{"a": [', '{"":1}', "]}"),
    "objects in objects": filled('{"a": [', '{"":{"":{"":{"":{}}}}}', "]}"),
    "keys": keys("1"),
    "keys with objects": keys("{}"),
    "long integers": filled('{"a": [', "9" * 4300, "]}"),
    "long fraction": '{"a": 1.' + "1" * 65_000 + "}",
    "small fractions": filled('{"a": [', "1" * 700 + "e-800", "]}"),
    "too deep": "[" * BODY_BYTES,
    "lines": '{"a": 1' + "\n" * 65_000 + "x",
}
LOGOUT = "/api/auth/logout"
ROUTES = [
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/refresh"),
    ("POST", LOGOUT),
    ("PATCH", "/api/auth/me"),
    ("PUT", "/api/auth/me/password"),
    ("DELETE", "/api/auth/me"),
]
# A header and the text that fills it to its limit. Headers may be repeated, except those in NEVER_JOINED.
HEADERS = [
    pytest.param("X-Forwarded-For", ",", id="proxies: commas"),
    pytest.param("X-Forwarded-For", "1.1.1.1,", id="proxies: addresses"),
    pytest.param("X-Forwarded-For", "x", id="proxies: a word"),
    pytest.param("X-Forwarded-For", '"\\', id="proxies: quotes"),
    pytest.param("If-None-Match", ",", id="tags: commas"),
    pytest.param("If-None-Match", '"a",', id="tags: short ones"),
    pytest.param("If-Match", '"a",', id="other tags"),
    pytest.param("If-Modified-Since", "a ", id="date"),
    pytest.param("Range", "bytes=0-1,", id="range"),
    pytest.param("Authorization", "Bearer a.b.c", id="bearer: words"),
    pytest.param("Authorization", "Bearer W10.", id="bearer: dots"),
    pytest.param("Authorization", " ", id="bearer: blanks"),
    pytest.param("Access-Control-Request-Headers", ",", id="preflight: commas"),
    pytest.param("Access-Control-Request-Headers", "Content-Type,", id="preflight: names"),
    pytest.param("Access-Control-Request-Method", "P", id="preflight: method"),
    pytest.param("Origin", "http://a", id="origin"),
    pytest.param("X-Request-ID", "a", id="request id"),
    pytest.param("User-Agent", "\xe9", id="user agent"),
    pytest.param("Cookie", "a=b;", id="cookies"),
    pytest.param("Accept", "a/b,", id="accept"),
    pytest.param("Content-Type", "application/json;", id="type: empty parameters"),
    pytest.param("Content-Type", 'application/json;a="b";', id="type: quoted parameters"),
    pytest.param("Host", "a.", id="host"),
]
READ_WITH_HEADERS = [
    ("GET", "/api/auth/me"),
    ("GET", "/openapi.json"),
    ("OPTIONS", "/api/auth/login"),
    ("POST", "/api/auth/login"),
]
NEVER_JOINED = {"Content-Type", "Host"}
PATHS = [
    pytest.param("GET", "/" * 4000, id="slashes"),
    pytest.param("GET", "/api/auth" * 400, id="segments"),
    pytest.param("GET", "/docs/" + "\xff" * 4000, id="not UTF-8"),
    pytest.param("DELETE", "/api/auth/sessions/" + "1" * 4000, id="digits"),
]


class Meter:
    """Measures the CPU time of the thread for one answer, without password hashes and coverage tracing."""

    def __init__(self, app: Flask, patch: pytest.MonkeyPatch) -> None:
        self._app = app
        self._hashing = 0.0
        for name in ("check_password_hash", "generate_password_hash"):
            patch.setattr(Bcrypt, name, self._counted(getattr(Bcrypt, name)))

    def _counted(self, hash_function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            started = time.thread_time()
            try:
                return hash_function(*args)
            finally:
                self._hashing += time.thread_time() - started

        return run

    def require_cheap(self, environ: dict[str, Any], body: bytes = b"") -> None:
        """Fail unless the request stays below MAX_SECONDS of an idle machine."""
        share = yardstick.share(lambda: self._seconds_for(environ, body), MAX_SECONDS)
        assert share < 1, f"{environ['REQUEST_METHOD']} {environ['PATH_INFO'][:50]}"

    def _seconds_for(self, environ: dict[str, Any], body: bytes) -> float:
        self._hashing = 0.0
        started = time.thread_time()
        answer = self._app(environ | {"wsgi.input": io.BytesIO(body)}, lambda *_: lambda data: None)
        b"".join(answer)
        answer.close()  # type: ignore[attr-defined]
        return time.thread_time() - started - self._hashing


@pytest.fixture(scope="module")
def proxied_app(settings: Settings) -> Iterator[Flask]:
    app = create_app(replace(settings, trusted_proxies=1))
    gc.collect()
    gc.freeze()  # or a collection would walk over the objects of the other tests, in the service's time
    yield app
    gc.unfreeze()
    app.extensions["auth"].database.close()


@pytest.fixture
def meter(proxied_app: Flask, monkeypatch: pytest.MonkeyPatch) -> Meter:
    return Meter(proxied_app, monkeypatch)


def environ_of(method: str, path: str, token: str, body: bytes = b"") -> dict[str, Any]:
    environ = create_environ(method=method, headers={"Authorization": f"Bearer {token}"})
    return environ | {
        "PATH_INFO": path,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_ORIGIN": "http://localhost:3000",
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST",
    }


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_body_costs_little(meter: Meter, ada: Actor, body: str | bytes) -> None:
    raw = body if isinstance(body, bytes) else body.encode()
    assert len(raw) <= BODY_BYTES

    for method, path in ROUTES:
        meter.require_cheap(environ_of(method, path, "" if path == LOGOUT else ada.token, raw), raw)


@pytest.mark.parametrize(("name", "unit"), HEADERS)
def test_header_costs_little(meter: Meter, ada: Actor, name: str, unit: str) -> None:
    length = FIELD_BYTES if name in NEVER_JOINED else REPEATED_BYTES
    key = name.upper().replace("-", "_")
    header = {key if name == "Content-Type" else f"HTTP_{key}": unit * (length // len(unit))}
    body = json.dumps({"email": "ada", "password": PASSWORD}).encode()

    for method, path in READ_WITH_HEADERS:
        meter.require_cheap(environ_of(method, path, ada.token, body) | header, body)


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_path_costs_little(meter: Meter, ada: Actor, method: str, path: str) -> None:
    environ = environ_of(method, path, ada.token)

    meter.require_cheap(environ | {"QUERY_STRING": "a=b&" * 1000})
