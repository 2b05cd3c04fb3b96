"""When the bytes of a request are all that a thread needs."""

import pytest

from incoming import MAX_BUFFERED_BYTES, Incoming

HEAD = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "complete"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"GET / HTT", False, id="part of the request line"),
        pytest.param(HEAD, False, id="headers without their end"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", True, id="no headers"),
        pytest.param(HEAD + b"\r\n", True, id="no body"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\n", False, id="body not begun"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\nab", False, id="part of the body"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\nabc", True, id="whole body"),
        pytest.param(HEAD + b"content-length:3\r\n\r\nab", False, id="lower case, no space"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\nabcGET /", True, id="pipelined"),
        pytest.param(HEAD + b"Content-Length: x\r\n\r\n", True, id="malformed length"),
        pytest.param(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", False, id="huge length"),
        pytest.param(CHUNKED + b"ffff\r\n\r\n0\r\n\r\n", False, id="chunk that looks like the last"),
        pytest.param(CHUNKED + b"0ffff\r\n\r\n\r\n", False, id="size that begins with 0"),
        pytest.param(CHUNKED + b"-5\r\n", True, id="malformed size"),
        pytest.param(CHUNKED + b"0\r\n\r\nGET / HT", True, id="the next request begun"),
        pytest.param(CHUNKED + b"3\r\nabc\r\n", False, id="part of the chunks"),
        pytest.param(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", True, id="all chunks"),
        pytest.param(CHUNKED + b"0\r\n\r\n", True, id="no chunks"),
        pytest.param(CHUNKED + b"0\r\nX-A: b\r\n\r\n", True, id="chunks with a trailer"),
        pytest.param(b"x" * (MAX_BUFFERED_BYTES + 1), True, id="headers without an end in sight"),
        pytest.param(
            HEAD + b"Content-Length: 99999999\r\n\r\n" + b"x" * MAX_BUFFERED_BYTES,
            True,
            id="endless body",
        ),
    ],
)
def test_request_is_complete(received: bytes, *, complete: bool) -> None:
    assert Incoming().add(received) is complete


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(HEAD + b"\r\n", id="no body"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\nabc", id="length"),
        pytest.param(
            CHUNKED + b"3\r\nabc\r\n10;x=y\r\n0\r\n\r\n-----------\r\n0\r\nX-A: b\r\n\r\n", id="chunks"
        ),
    ],
)
def test_request_in_single_bytes_is_complete_with_the_last(request_bytes: bytes) -> None:
    incoming = Incoming()

    complete = [incoming.add(request_bytes[at : at + 1]) for at in range(len(request_bytes))]

    assert complete == [False] * (len(request_bytes) - 1) + [True]
    assert incoming.received == request_bytes


def test_client_that_waits_for_us_is_noticed_once() -> None:
    incoming = Incoming()

    assert not incoming.add(HEAD + b"Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n")
    assert incoming.wants_continue
    assert incoming.add(b"abc")
    assert incoming.received == HEAD + b"Content-Length: 3\r\n\r\nabc"


def test_request_beyond_the_buffer_is_the_last_of_its_connection() -> None:
    incoming = Incoming()

    incoming.add(HEAD + b"Content-Length: 99999999\r\n\r\n" + b"x" * MAX_BUFFERED_BYTES)

    assert incoming.received.startswith(b"POST /api/auth/login HTTP/1.1\r\nConnection: close\r\nHost: x\r\n")
