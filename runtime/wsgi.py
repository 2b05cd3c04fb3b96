"""WSGI (PEP 3333) without sockets: turns a request into an environ, and an answer into bytes."""

import io
import json
import sys
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from httptools import HttpParserInvalidURLError, parse_url

from runtime.limits import RETRY_AFTER_SECONDS
from runtime.request_buffer import Request

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Every answer has these, whoever gives it.
FIXED_HEADERS = [
    ("Vary", "Origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
]
# Every answer has this one, but for a page with a policy of its own.
CONTENT_POLICY = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

_WITHOUT_PREFIX = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_HEADERS_OF_SERVER = ("connection", "date", "transfer-encoding")


def environ(request: Request, *, client: tuple[str, int], server: tuple[str, int]) -> "WSGIEnvironment":
    """Return the environ of a request. client, server: (host, port)."""
    path, query = _path_and_query(request.target)
    variables: WSGIEnvironment = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.input_terminated": True,  # the body is whole, also without a Content-Length
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in request.headers:
        # Attack: an environ shows X_Forwarded_For as it shows X-Forwarded-For, which a proxy sets.
        # Upgrade: this server speaks HTTP only, and Werkzeug would refuse a request that asks for WebSocket.
        if b"_" in name or name == b"upgrade":
            continue
        text = name.decode("latin-1").upper().replace("-", "_")
        key = _WITHOUT_PREFIX.get(name) or f"HTTP_{text}"
        earlier = variables.get(key)
        decoded = value.decode("latin-1")
        variables[key] = decoded if earlier is None else f"{earlier},{decoded}"
    return variables


def _path_and_query(target: bytes) -> tuple[bytes, bytes]:
    if not target.startswith(b"/"):  # absolute-form (RFC 9112 section 3.2.2)
        try:
            parsed = parse_url(target)
        except HttpParserInvalidURLError:
            return target, b""
        return parsed.path or b"/", parsed.query or b""
    path, _, query = target.partition(b"?")
    return path, query


class Answer:
    """The answer of an application to one request."""

    def __init__(self) -> None:
        self._status = ""
        self._headers: list[tuple[str, str]] = []

    def start(
        self, status: str, headers: list[tuple[str, str]], _exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """Keep status and headers: WSGI's start_response. The last call counts: nothing has been sent yet."""
        self._status, self._headers = status, headers
        return self._write

    def _write(self, _data: bytes) -> object:
        raise NotImplementedError("write() is for frameworks older than WSGI")

    def to_bytes(self, body: Iterable[bytes], *, method: str, keep_alive: bool) -> bytes:
        """Return the whole answer. Content-Length is the length of `body`, whatever the application says."""
        content = b"".join(body)
        has_body = not self._status.startswith(("204", "304"))
        head = [f"HTTP/1.1 {self._status}\r\nDate: {_date()}\r\n"]
        head.append("Connection: keep-alive\r\n" if keep_alive else "Connection: close\r\n")
        for name, value in self._headers:
            lower = name.lower()
            if lower not in _HEADERS_OF_SERVER and (lower != "content-length" or method == "HEAD"):
                head.append(f"{name}: {value}\r\n")
        if method == "HEAD" or not has_body:
            content = b""
        else:
            head.append(f"Content-Length: {len(content)}\r\n")
        head.append("\r\n")
        return "".join(head).encode("latin-1") + content


# The words of auth/errors.py for the same codes: a client cannot tell who refused. A test compares both.
REFUSALS = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("body_too_large", "The request body is larger than 64 KiB."),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("internal_error", "Something went wrong on our side."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("busy", "The service is busy, please try again in a moment."),
}
BAD_REQUEST = ("bad_request", "The request could not be understood.")  # for every other status


_FIXED_LINES = "".join(f"{name}: {value}\r\n" for name, value in [*FIXED_HEADERS, CONTENT_POLICY])


def refusal(status: HTTPStatus) -> bytes:
    """Return the answer to a request that does not reach the application; it ends the connection."""
    code, sentence = REFUSALS.get(status, BAD_REQUEST)
    content = json.dumps({"error": sentence, "code": code}).encode() + b"\n"
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: {_date()}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n{_FIXED_LINES}"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        head += f"Retry-After: {RETRY_AFTER_SECONDS}\r\n"
    head += "\r\n"
    return head.encode("ascii") + content


_newest_date: tuple[int, str] = (0, "")  # seconds since the epoch, and as text


def _date() -> str:
    """Return the time now as HTTP writes it. The text is formatted once a second."""
    global _newest_date
    now = int(time.time())
    if _newest_date[0] != now:
        _newest_date = now, formatdate(now, usegmt=True)
    return _newest_date[1]
