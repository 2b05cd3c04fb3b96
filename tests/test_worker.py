"""When the gunicorn worker takes the bytes of a request for complete."""

import pytest

from worker import MAX_BUFFERED_BYTES, is_complete

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
        pytest.param(HEAD + b"Content-Length: 999999999999999999999\r\n\r\n", False, id="huge length"),
        pytest.param(HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", True, id="waits for us"),
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
def test_is_complete(received: bytes, *, complete: bool) -> None:
    assert is_complete(received) is complete
