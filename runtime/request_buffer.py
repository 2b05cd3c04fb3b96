"""The bytes of a connection, as they come in, to whole requests; llhttp, the parser of Node.js, reads them.

Nothing here waits: a request goes on to a thread when all of it is here, and no thread ever reads a socket.
"""

from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from config import MAX_BODY_BYTES

MAX_HEAD_BYTES = 32 * 1024
MAX_LINE_BYTES = 8190  # a target, or a header with its name
MAX_HEADERS = 100
MAX_REQUEST_BYTES = 2 * MAX_BODY_BYTES + MAX_HEAD_BYTES  # with what chunks, their sizes and trailers add
MAX_PIPELINED = 16  # requests that came before the first of them was answered

_SINGLE = (b"host", b"content-type")  # RFC 9110 section 5.3: two of them cannot be joined
_FRAMING = (b"content-length", b"transfer-encoding", b"connection")


@dataclass
class Request:
    """A request as it was sent. Header names are in lower case."""

    method: str = ""
    target: bytes = b""
    version: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    keep_alive: bool = False


class _Enough(Exception):
    """Ends the parsing: nothing that follows on this connection is looked at."""


class RequestBuffer:
    """What one client sends. requests: what is complete; refusal: the status for what came after these."""

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.refusal: HTTPStatus | None = None
        self.wants_continue = False
        self.ended = False
        self._parser = HttpRequestParser(self)
        self._request: Request | None = None
        self._in_head = False
        self._ignores_upgrade = False
        self._fed = 0

    def incomplete_bytes(self) -> int:
        """Return how much has come of a request that is not complete."""
        return self._fed if self._request else 0

    def holds_more(self) -> bool:
        """Return whether something has come that is not passed on yet."""
        return bool(self.requests or self.refusal or self.incomplete_bytes())

    def feed(self, data: bytes) -> None:
        """Take what came."""
        if self.ended:
            return
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as exc:
            self._go_on(data[exc.args[0] :])
        except HttpParserError:
            if not self.ended:
                self.refuse(HTTPStatus.BAD_REQUEST)
        if self._request and not self._fed:  # it began behind the end of another
            self._fed = len(data)
        if self._in_head and self._fed > MAX_HEAD_BYTES:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._fed > MAX_REQUEST_BYTES:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def refuse(self, status: HTTPStatus) -> None:
        """Answer `status` to what came last, and look at nothing more."""
        self.refusal = status
        self._forget()

    def _go_on(self, rest: bytes) -> None:
        """Read a request that asks for another protocol as what it is without that (RFC 9110, 7.8).

        llhttp takes what follows its head for the other protocol. Java's client asks for HTTP/2 so, with
        the body of a POST behind it.
        """
        request = self._request
        assert request
        framing = [b"%s: %s\r\n" % header for header in request.headers if header[0] in _FRAMING]
        self._parser = HttpRequestParser(self)
        self._ignores_upgrade = True
        self.feed(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n" + rest)

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        if not self._ignores_upgrade:
            self._request = Request()
            self._in_head = True

    def on_url(self, part: bytes) -> None:
        if self._request and self._in_head:
            self._request.target += part
            if len(self._request.target) > MAX_LINE_BYTES:
                self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._request or not self._in_head:
            return  # a trailer, which nobody here asks for
        headers = self._request.headers
        name = name.lower()
        if len(name) + len(value) > MAX_LINE_BYTES or len(headers) == MAX_HEADERS:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if name in _SINGLE and any(name == known for known, _ in headers):
            self._refuse(HTTPStatus.BAD_REQUEST)
        headers.append((name, value.rstrip(b" \t")))  # llhttp has stripped its beginning

    def on_headers_complete(self) -> None:
        request = self._request
        if not request or not self._in_head:
            return
        self._in_head = False
        request.method = self._parser.get_method().decode("ascii")
        request.version = self._parser.get_http_version()
        request.keep_alive = self._parser.should_keep_alive()
        if request.version not in ("1.0", "1.1"):
            is_older = request.version < "1"  # a line without a version is of 0.9
            self._refuse(HTTPStatus.BAD_REQUEST if is_older else HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        for name, value in request.headers:
            # One byte more is taken in: the application refuses it, and by its length alone what is longer.
            if name == b"content-length" and int(value) > MAX_BODY_BYTES + 1:
                self._cut()
            is_chunked = request.version == "1.1" and value.lower() == b"chunked"
            if name == b"transfer-encoding" and not is_chunked:  # RFC 9112 section 6.1
                self._refuse(HTTPStatus.BAD_REQUEST)
            if name == b"expect" and value.lower() == b"100-continue":
                self.wants_continue = request.version == "1.1"

    def on_body(self, part: bytes) -> None:
        assert self._request
        self._request.body += part
        if len(self._request.body) > MAX_BODY_BYTES:
            self._cut()

    def on_message_complete(self) -> None:
        request = self._request
        assert request
        if self._parser.should_upgrade() and not self._ignores_upgrade:
            return
        self._ignores_upgrade = False
        if len(self.requests) + 1 >= MAX_PIPELINED:
            request.keep_alive = False
        self.requests.append(request)
        self._forget(ended=not request.keep_alive)
        if self.ended:
            raise _Enough

    def _cut(self) -> None:
        """Pass the request on without the rest of its body, and close the connection after the answer."""
        assert self._request
        self._request.keep_alive = False
        self.requests.append(self._request)
        self._forget()
        raise _Enough

    def _refuse(self, status: HTTPStatus) -> None:
        self.refuse(status)
        raise _Enough

    def _forget(self, *, ended: bool = True) -> None:
        """Have no request in the making any more."""
        self.ended = ended
        self._request = None
        self._in_head = False
        self.wants_continue = False
        self._fed = 0
