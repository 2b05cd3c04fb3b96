"""Collects the bytes of one connection into whole requests. llhttp, the parser of Node.js, reads them.

Nothing here waits. A thread gets a request when it is complete, and never reads a socket.
"""

from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from runtime.limits import MAX_BODY_BYTES

MAX_HEAD_BYTES = 32 * 1024
MAX_LINE_BYTES = 8190  # of a target, or of a header with its name
MAX_HEADERS = 100
MAX_REQUEST_BYTES = 2 * MAX_BODY_BYTES + MAX_HEAD_BYTES  # a chunked body adds sizes, extensions and trailers
MAX_PIPELINED = 16  # requests that a client sends before it has the first answer

_SINGLE = (b"host", b"content-type")  # RFC 9110 section 5.3: values of two such headers cannot be joined
_FRAMING = (b"content-length", b"transfer-encoding", b"connection")


@dataclass
class Request:
    """A request as the client sent it, but for the names of headers: they are in lower case."""

    method: str = ""
    target: bytes = b""
    version: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    keep_alive: bool = False


class _StopParsing(Exception):
    """Raised through the parser: the bytes that follow on this connection are ignored."""


class RequestBuffer:
    """The bytes that one client has sent.

    requests: the complete ones. refusal: the status for the bytes after these, None if they are valid so far.
    wants_continue: whether the client waits for "100 Continue". ended: whether further bytes are ignored.
    """

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.refusal: HTTPStatus | None = None
        self.wants_continue = False
        self.ended = False
        self._parser = HttpRequestParser(self)
        self._request: Request | None = None
        self._is_in_head = False
        self._ignores_upgrade = False
        self._fed_bytes = 0  # since the last complete request

    def incomplete_bytes(self) -> int:
        """Return how many bytes of an incomplete request are here."""
        return self._fed_bytes if self._request else 0

    def is_empty(self) -> bool:
        """Return whether nothing is here: no request, no part of one, and no refusal."""
        return not (self.requests or self.refusal or self.incomplete_bytes())

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the client."""
        if self.ended:
            return
        self._fed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as exc:
            self._ignore_upgrade(data[exc.args[0] :])
        except HttpParserError:  # also what _StopParsing becomes
            if not self.ended:
                self._refuse(HTTPStatus.BAD_REQUEST)
        if self._request and not self._fed_bytes:  # it began behind the end of another request
            self._fed_bytes = len(data)
        if self._is_in_head and self._fed_bytes > MAX_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._fed_bytes > MAX_REQUEST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read a request that asks for another protocol as if it did not ask (RFC 9110 section 7.8).

        llhttp takes the bytes behind its head for the other protocol and stops. Java's client asks for HTTP/2
        in this way even with a POST, whose body then follows. So a new parser reads `rest` behind a made-up
        head with the same framing headers.
        """
        request = self._request
        assert request
        framing = [b"%s: %s\r\n" % header for header in request.headers if header[0] in _FRAMING]
        self._parser = HttpRequestParser(self)
        self._ignores_upgrade = True
        self.feed(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n" + rest)

    def _refuse(self, status: HTTPStatus) -> None:
        self.refusal = status
        self._forget_request(ended=True)

    # The parser calls the on_... methods.

    def on_message_begin(self) -> None:
        if not self._ignores_upgrade:
            self._request = Request()
            self._is_in_head = True

    def on_url(self, part: bytes) -> None:
        if self._request and self._is_in_head:
            self._request.target += part
            if len(self._request.target) > MAX_LINE_BYTES:
                self._refuse_and_stop(HTTPStatus.REQUEST_URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._request or not self._is_in_head:
            return  # a trailer: the service needs none
        headers = self._request.headers
        name = name.lower()
        if len(name) + len(value) > MAX_LINE_BYTES or len(headers) == MAX_HEADERS:
            self._refuse_and_stop(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if name in _SINGLE and any(name == known for known, _ in headers):
            self._refuse_and_stop(HTTPStatus.BAD_REQUEST)
        headers.append((name, value.rstrip(b" \t")))  # llhttp has stripped the left side

    def on_headers_complete(self) -> None:
        request = self._request
        if not request or not self._is_in_head:
            return
        self._is_in_head = False
        request.method = self._parser.get_method().decode("ascii")
        request.version = self._parser.get_http_version()
        request.keep_alive = self._parser.should_keep_alive()
        if request.version not in ("1.0", "1.1"):
            is_older = request.version < "1"  # a request line without a version is HTTP/0.9
            self._refuse_and_stop(
                HTTPStatus.BAD_REQUEST if is_older else HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
            )
        for name, value in request.headers:
            # The application refuses a body of one byte too many. It refuses a longer one by its declared
            # length alone, so those bytes need not be read.
            if name == b"content-length" and int(value) > MAX_BODY_BYTES + 1:
                self._pass_on_without_rest()
            is_chunked = request.version == "1.1" and value.lower() == b"chunked"
            if name == b"transfer-encoding" and not is_chunked:  # RFC 9112 section 6.1
                self._refuse_and_stop(HTTPStatus.BAD_REQUEST)
            if name == b"expect" and value.lower() == b"100-continue":
                self.wants_continue = request.version == "1.1"

    def on_body(self, part: bytes) -> None:
        assert self._request
        self._request.body += part
        if len(self._request.body) > MAX_BODY_BYTES:
            self._pass_on_without_rest()

    def on_message_complete(self) -> None:
        request = self._request
        assert request
        if self._parser.should_upgrade() and not self._ignores_upgrade:
            return
        self._ignores_upgrade = False
        if len(self.requests) + 1 >= MAX_PIPELINED:
            request.keep_alive = False
        self.requests.append(request)
        self._forget_request(ended=not request.keep_alive)
        if self.ended:
            raise _StopParsing

    def _pass_on_without_rest(self) -> None:
        """Pass the request on without the rest of its body, and end the connection after the answer."""
        assert self._request
        self._request.keep_alive = False
        self.requests.append(self._request)
        self._forget_request(ended=True)
        raise _StopParsing

    def _refuse_and_stop(self, status: HTTPStatus) -> None:
        self._refuse(status)
        raise _StopParsing

    def _forget_request(self, *, ended: bool) -> None:
        """Prepare for the next request. ended: no request follows on this connection."""
        self.ended = ended
        self._request = None
        self._is_in_head = False
        self.wants_continue = False
        self._fed_bytes = 0
