"""WSGI (PEP 3333) without sockets: a request to an environ, and what the application answers to bytes."""

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

from config import RETRY_AFTER_SECONDS
from runtime.request_buffer import Request

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_WITHOUT_PREFIX = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_KEPT_BY_THE_SERVER = ("connection", "date", "transfer-encoding")


def environ(request: Request, *, client: Any, server: Any) -> "WSGIEnvironment":
    """Return the environ of a request. client, server: socket addresses."""
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
        "wsgi.input_terminated": True,  # also a body without a Content-Length has an end
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in request.headers:
        # In an environ an underscore would pass for the hyphen of a header that a proxy sets. No other
        # protocol is spoken here, and Werkzeug refuses a request that asks for WebSocket.
        if b"_" in name or name == b"upgrade":
            continue
        text = name.decode("latin-1").upper().replace("-", "_")
        key = _WITHOUT_PREFIX.get(name) or f"HTTP_{text}"
        known = variables.get(key)
        variables[key] = value.decode("latin-1") if known is None else f"{known},{value.decode('latin-1')}"
    return variables


def _path_and_query(target: bytes) -> tuple[bytes, bytes]:
    if not target.startswith(b"/"):  # as clients write it to a proxy (RFC 9112 section 3.2.2)
        try:
            parsed = parse_url(target)
        except HttpParserInvalidURLError:
            return target, b""
        return parsed.path or b"/", parsed.query or b""
    path, _, query = target.partition(b"?")
    return path, query


class Answer:
    """What an application answers to one request."""

    def __init__(self) -> None:
        self._status = ""
        self._headers: list[tuple[str, str]] = []

    def start(
        self, status: str, headers: list[tuple[str, str]], _exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """WSGI's start_response; nothing is sent before the answer is whole, so the last call counts."""
        self._status, self._headers = status, headers
        return self._write

    def _write(self, _data: bytes) -> object:
        raise NotImplementedError("write() is for frameworks older than WSGI")

    def to_bytes(self, body: Iterable[bytes], *, method: str, keep_alive: bool) -> bytes:
        """Return the whole answer. Its length is that of `body`, also if the application names another."""
        content = b"".join(body)
        has_body = not self._status.startswith(("204", "304"))
        head = [f"HTTP/1.1 {self._status}\r\nDate: {_date()}\r\n"]
        head.append("Connection: keep-alive\r\n" if keep_alive else "Connection: close\r\n")
        for name, value in self._headers:
            lower = name.lower()
            if lower not in _KEPT_BY_THE_SERVER and (lower != "content-length" or method == "HEAD"):
                head.append(f"{name}: {value}\r\n")
        if method == "HEAD" or not has_body:
            content = b""
        else:
            head.append(f"Content-Length: {len(content)}\r\n")
        head.append("\r\n")
        return "".join(head).encode("latin-1") + content


_REFUSALS = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("body_too_large", "The request body is larger than 64 KiB."),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("internal_error", "Something went wrong on our side."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("busy", "The service is busy, please try again in a moment."),
}


def refusal(status: HTTPStatus) -> bytes:
    """Return the answer to what does not reach the application; the connection ends with it."""
    code, sentence = _REFUSALS.get(status, ("bad_request", "The request could not be understood."))
    content = json.dumps({"error": sentence, "code": code}).encode() + b"\n"
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: {_date()}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        head += f"Retry-After: {RETRY_AFTER_SECONDS}\r\n"
    head += "\r\n"
    return head.encode("ascii") + content


_date_of: tuple[int, str] = (0, "")


def _date() -> str:
    """Return the time as HTTP writes it; made once a second."""
    global _date_of
    now = int(time.time())
    if _date_of[0] != now:
        _date_of = now, formatdate(now, usegmt=True)
    return _date_of[1]
