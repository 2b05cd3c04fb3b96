"""Requests byte by byte: limits, refusals, pipelining and 100-continue."""

import json
from collections.abc import Iterator

import pytest

from runtime.headers import HEADERS_OF_OTHERS
from tests.support import SECRET_KEY, service
from tests.support.apps import NO_DATABASE
from tests.support.raw_http import (
    LIVE,
    REGISTER_HEAD,
    connect,
    raw_answer,
    read_all,
    seconds_of_health,
    wait_for_log,
)
from tests.support.registrations import ADA

pytestmark = pytest.mark.slow


FORGED = [
    pytest.param([b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off"], id="schemes that differ"),
    pytest.param([b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http"], id="two schemes"),
    pytest.param([b"SCRIPT_NAME: /elsewhere"], id="name of a script"),
    pytest.param([b"PATH_INFO: /elsewhere"], id="path"),
    pytest.param([b"REMOTE_USER: root"], id="user"),
    pytest.param([b"REMOTE-ADDR: 203.0.113.9"], id="address"),
    pytest.param([b"X_FORWARDED_PROTO: https"], id="scheme with underscores"),
    pytest.param([b"X-Forwarded-Ssl: on"], id="X-Forwarded-Ssl"),
    pytest.param([b"X-Forwarded-Protocol: ssl"], id="X-Forwarded-Protocol"),
    pytest.param([b"wsgi.url_scheme: https"], id="variable of WSGI"),
]


@pytest.mark.parametrize("headers", FORGED)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_headers_of_proxies_change_nothing(running: service.Service, host: str, headers: list[bytes]) -> None:
    answer = raw_answer(running, *headers, host=host)

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"status":"alive"}\n')
    assert b"Strict-Transport-Security" not in answer


@pytest.fixture(scope="module")
def threaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """The service under a worker of gunicorn's own, which reads headers of proxies by itself."""
    log = tmp_path_factory.mktemp("threaded") / "log"
    arguments = ("--worker-class", "gthread", "--graceful-timeout", "1")
    with service.running(log, *arguments, DB_URL=NO_DATABASE, SECRET_KEY=SECRET_KEY) as started:
        yield started


@pytest.mark.parametrize("headers", FORGED)
def test_headers_of_proxies_change_nothing_under_gunicorns_own_worker(
    threaded: service.Service, headers: list[bytes]
) -> None:
    answer = raw_answer(threaded, *headers, host="::1")  # an address that gunicorn trusts

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"status":"alive"}\n')
    assert b"Strict-Transport-Security" not in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param("GET /health?password=hunter2é HTTP/1.1\r\nHost: x\r\n\r\n".encode(), id="request line"),
        pytest.param(b"GET /health HTTP/1.1\r\nAuthorization Bearer hunter2\r\n\r\n", id="header"),
    ],
)
def test_request_that_the_worker_refuses_is_logged_without_its_text(
    running: service.Service, request_bytes: bytes
) -> None:
    with connect(running) as sock:
        sock.sendall(request_bytes)
        head, _, body = read_all(sock).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 ")
    assert {f"{name}: {value}".encode() for name, value in HEADERS_OF_OTHERS} <= set(head.split(b"\r\n"))
    assert json.loads(body) == {"error": "The request could not be understood.", "code": "bad_request"}
    wait_for_log(running, "request_refused status=400 remote_addr=127.0.0.1")
    assert "hunter2" not in running.log.read_text()


LONG = b'{"username": "' + b"x" * 70_000 + b'"}'


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        pytest.param(
            b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 8300 + b"\r\n\r\n",
            {400, 431},
            id="header",
        ),
        pytest.param(b"GET /" + b"x" * 8300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {400, 414}, id="long line"),
        pytest.param(
            b"GET /health HTTP/1.1\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(101)) + b"\r\n",
            {400, 431},
            id="101 headers",
        ),
        pytest.param(b"nonsense\r\n\r\n", {400}, id="nonsense"),
        pytest.param(REGISTER_HEAD + b"Content-Length: %d\r\n\r\n" % len(LONG) + LONG, {413}, id="long body"),
        pytest.param(
            REGISTER_HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(LONG) + LONG + b"\r\n0\r\n\r\n",
            {413},
            id="long chunked body",
        ),
        pytest.param(
            REGISTER_HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            {400},
            id="two lengths",
        ),
        pytest.param(
            REGISTER_HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            {400},
            id="lengths",
        ),
        pytest.param(REGISTER_HEAD + b"Content-Length: -1\r\n\r\n{}", {400}, id="negative length"),
        pytest.param(
            REGISTER_HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n0\r\n\r\n", {400}, id="malformed chunk"
        ),
    ],
)
def test_request_beyond_a_limit_is_refused_and_the_connection_closed(
    running: service.Service, request_bytes: bytes, statuses: set[int]
) -> None:
    workers = running.workers()

    with connect(running) as sock:
        sock.sendall(request_bytes.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n", 1))
        answer = read_all(sock)

    assert int(answer.split()[1]) in statuses
    assert running.workers() == workers
    assert seconds_of_health(running) < 1


def test_requests_on_one_connection_are_answered_in_order(running: service.Service) -> None:
    with connect(running) as sock:
        sock.sendall(LIVE * 2 + LIVE.replace(b"Host", b"Connection: close\r\nHost"))
        answer = read_all(sock)

    assert answer.count(b"HTTP/1.1 200 OK") == 3


def test_client_that_expects_100_continue_is_told_to(running: service.Service) -> None:
    body = json.dumps(ADA).encode()
    head = REGISTER_HEAD.replace(b"register", b"login") + b"Connection: close\r\nExpect: 100-continue\r\n"

    with connect(running) as sock:
        sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue")
        sock.sendall(body)
        answer = read_all(sock)

    assert answer.startswith(b"HTTP/1.1 200 OK")
