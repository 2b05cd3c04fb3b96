"""From the bytes of a connection to requests: complete ones, refused ones, and bodies that are not read."""

import io
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request as GunicornRequest
from gunicorn.http.unreader import IterUnreader
from hypothesis import given
from hypothesis import strategies as st

from runtime.limits import MAX_BODY_BYTES
from runtime.request_buffer import MAX_HEAD_BYTES, MAX_PIPELINED, MAX_REQUEST_BYTES, Request, RequestBuffer

HEAD = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
JAVA = HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n"


def fed(*parts: bytes) -> RequestBuffer:
    buffer = RequestBuffer()
    for part in parts:
        buffer.feed(part)
    return buffer


@pytest.mark.parametrize(
    ("received", "bodies"),
    [
        pytest.param(b"GET / HTT", [], id="part of the request line"),
        pytest.param(HEAD, [], id="headers without their end"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", [b""], id="no headers"),
        pytest.param(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", [b""], id="empty lines before"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\n", [], id="body not begun"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\nab", [], id="part of the body"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\nabc", [b"abc"], id="whole body"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\nabcGET /", [b"abc"], id="the next request begun"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\nabc" + LIVE, [b"abc", b""], id="pipelined"),
        pytest.param(CHUNKED + b"ffff\r\n\r\n0\r\n\r\n", [], id="chunk that looks like the last"),
        pytest.param(CHUNKED + b"000000003\r\nabc\r\n0\r\n\r\n", [b"abc"], id="size of nine digits"),
        pytest.param(CHUNKED + b"3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nX-A: b\r\n\r\n", [b"abcd"], id="chunks"),
        pytest.param(JAVA + b"Content-Length: 3\r\n\r\nabc", [b"abc"], id="Java asks for HTTP/2"),
        pytest.param(JAVA + b"Content-Length: 3\r\n\r\nabc" + LIVE, [b"abc", b""], id="Java, then another"),
        pytest.param(
            JAVA + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", [b"abc"], id="Java, chunks"
        ),
    ],
)
def test_requests_are_complete_in_whatever_pieces_they_come(received: bytes, bodies: list[bytes]) -> None:
    in_bytes = fed(*(received[at : at + 1] for at in range(len(received))))
    at_once = fed(received)

    assert [bytes(request.body) for request in at_once.requests] == bodies
    assert in_bytes.requests == at_once.requests
    assert at_once.refusal is in_bytes.refusal is None


def test_request_is_told_as_it_was_sent() -> None:
    [request] = fed(b"POST /a%20b?c=d HTTP/1.1\r\nHOST: x\r\nX-A:  b \r\nContent-Length: 1\r\n\r\n{").requests

    assert (request.method, request.target, request.version) == ("POST", b"/a%20b?c=d", "1.1")
    assert request.headers == [(b"host", b"x"), (b"x-a", b"b"), (b"content-length", b"1")]
    assert request.keep_alive


@pytest.mark.parametrize(
    ("received", "status"),
    [
        pytest.param(b"\x16\x03\x01", 400, id="TLS"),
        pytest.param(b"nonsense\r\n\r\n", 400, id="nonsense"),
        pytest.param(b"GET / HTTP/2.0\r\n\r\n", 505, id="version"),
        pytest.param(b"GET /\r\n\r\n", 400, id="no version"),
        pytest.param(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400, id="compressed chunks"),
        pytest.param(HEAD + b"X-A : b\r\n\r\n", 400, id="blank before the colon"),
        pytest.param(HEAD + b"X-A: b\r\n c\r\n\r\n", 400, id="folded header"),
        pytest.param(HEAD + b"X-A: b\0\r\n\r\n", 400, id="NUL"),
        pytest.param(HEAD + b"Host: y\r\n\r\n", 400, id="two hosts"),
        pytest.param(HEAD + b"Content-Length: x\r\n\r\n", 400, id="malformed length"),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\n", 400, id="negative length"),
        pytest.param(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400, id="huge length"),
        pytest.param(HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n{", 400, id="two lengths"),
        pytest.param(
            HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, id="two framings"
        ),
        pytest.param(
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, id="chunks in 1.0"
        ),
        pytest.param(HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400, id="transfer coding"),
        pytest.param(CHUNKED + b"-5\r\n", 400, id="malformed size"),
        pytest.param(CHUNKED + b"1\r\nab\r\n", 400, id="longer than its size"),
        pytest.param(b"GET /" + b"a" * 8300, 414, id="long target"),
        pytest.param(HEAD + b"X-A: " + b"a" * 8300 + b"\r\n\r\n", 431, id="long header"),
        pytest.param(HEAD + b"X-A: b\r\n" * 100 + b"\r\n", 431, id="101 headers"),
        pytest.param(HEAD + b"X-A: " + b"a" * MAX_HEAD_BYTES, 431, id="head without an end"),
    ],
)
def test_what_is_no_request_is_refused_at_once(received: bytes, status: int) -> None:
    buffer = fed(received)

    assert (buffer.refusal, list(buffer.requests)) == (HTTPStatus(status), [])
    assert buffer.ended


def test_trailer_without_an_end_is_refused() -> None:
    buffer = fed(CHUNKED + b"0\r\nX-A: ", *[b"a" * 16_000] * (MAX_REQUEST_BYTES // 16_000 + 1))

    assert buffer.refusal == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


@pytest.mark.parametrize(
    ("received", "body_bytes"),
    [
        pytest.param(HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 2), 0, id="declared length"),
        pytest.param(
            HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", 0, id="asked before"
        ),
        pytest.param(
            CHUNKED + b"fffff\r\n" + b"a" * (MAX_BODY_BYTES + 1), MAX_BODY_BYTES + 1, id="chunk on its way"
        ),
    ],
)
def test_body_above_the_limit_is_not_waited_for(received: bytes, body_bytes: int) -> None:
    buffer = fed(received)
    buffer.feed(LIVE)

    [request] = buffer.requests
    assert (request.keep_alive, len(request.body)) == (False, body_bytes)
    assert not buffer.wants_continue


def test_request_that_begins_behind_another_is_seen() -> None:
    buffer = fed(LIVE + HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")

    assert len(buffer.requests) == 1
    assert buffer.incomplete_bytes() > 0
    assert buffer.wants_continue


def test_client_that_waits_for_us_is_noticed_until_its_body_comes() -> None:
    head = HEAD + b"Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n"

    assert fed(head).wants_continue
    assert not fed(head, b"abc").wants_continue
    assert fed(head, b"abc").requests == fed(head + b"abc").requests


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(b"GET / HTTP/1.0\r\n\r\n" + LIVE, id="HTTP/1.0"),
        pytest.param(HEAD + b"Connection: close\r\n\r\n" + LIVE, id="close"),
        pytest.param(LIVE * (MAX_PIPELINED + 1), id="too many at once"),
    ],
)
def test_nothing_is_read_after_the_last_request_of_a_connection(received: bytes) -> None:
    buffer = fed(received)

    assert [request.keep_alive for request in buffer.requests][-1] is False
    assert all(request.keep_alive for request in list(buffer.requests)[:-1])
    assert buffer.ended
    assert buffer.refusal is None


PIECES = st.sampled_from(
    [
        *(b"POST /x HTTP/1.1\r\n", b"GET /x?y HTTP/1.0\r\n", b"OPTIONS * HTTP/1.1\r\n", b"\r\n", b"\n"),
        *(b"Host: x\r\n", b"X: y\r\n", b"X: y\r\n z\r\n", b"X\r\n", b"X_Y: z\r\n", b"\xff: \xff\r\n"),
        *(b"Content-Length: 3\r\n", b"content-length:0003 \r\n", b"Content-Length: 4,4\r\n"),
        *(b"Content-Length : 3\r\n", b"Content-Length: +3\r\n", b"Content-Length:\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding:Chunked \r\n"),
        *(b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: identity\r\n"),
        *(b"Transfer_Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n"),
        *(b"\r\n", b"\r\n\r\n", b"3\r\n", b"000000003\r\n", b"3;a=b\r\n", b"3 \r\n", b"0x3\r\n", b"+3\r\n"),
        *(b"abc", b"abc\r\n", b"0\r\n", b"0\r\n\r\n", b"00;x\r\n", b"T: u\r\n", b" ", b"\0"),
    ]
)
WHOLE = st.builds(
    lambda line, headers, body: line + b"".join(headers) + b"\r\n" + b"".join(body),
    st.sampled_from([b"POST /x HTTP/1.1\r\n", b"GET /x?y HTTP/1.1\r\n"]),
    st.lists(PIECES, max_size=4),
    st.lists(PIECES, max_size=6),
)


def and_no_more(data: bytes) -> Iterator[bytes]:
    yield data
    raise TimeoutError


def by_gunicorn(data: bytes) -> tuple[str, bytes] | str:
    """Return the first request's method and body as gunicorn's parser reads it, or what it does instead."""
    try:
        unreader: Any = IterUnreader(and_no_more(data))
        request: Any = GunicornRequest(Config(), unreader, ("127.0.0.1", 1))
        return str(request.method), bytes(request.body.read(MAX_BODY_BYTES))
    except TimeoutError:
        return "waits"
    except (ParseException, StopIteration, OSError):
        return "refuses"


@given(received=st.one_of(WHOLE, st.lists(PIECES, max_size=12).map(b"".join)), cut=st.integers(0, 200))
def test_two_parsers_read_the_same(received: bytes, cut: int) -> None:
    """Another reading than that of a proxy before the service would be request smuggling (RFC 9112, 11.2)."""
    buffer = fed(received)
    expected = by_gunicorn(received)

    if buffer.requests:
        first: Request = buffer.requests[0]
        # An empty line before a request is to be ignored (RFC 9112 section 2.2); gunicorn refuses it.
        assert expected == (first.method, bytes(first.body)) or received.startswith(b"\r\n")
    elif not buffer.refusal:
        assert isinstance(expected, str) or received.startswith(b"\n")
    assert fed(received[:cut], received[cut:]).requests == buffer.requests


def test_body_of_single_byte_chunks_is_read() -> None:
    received = io.BytesIO(CHUNKED + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n")
    buffer = RequestBuffer()

    while part := received.read(16_384):
        buffer.feed(part)

    assert bytes(buffer.requests[0].body) == b"a" * 20_000
