"""Attacks: whatever a client sends or does not read, a worker goes on and serves others meanwhile."""

import json
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from tests.support import SECRET_KEY, service, yardstick
from tests.support.raw_http import (
    LIVE,
    ONE_SMALL_WORKER,
    REGISTER_HEAD,
    connect,
    read_all,
    seconds_of_health,
)

pytestmark = pytest.mark.slow


CHUNKED = REGISTER_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def environ(url: str) -> dict[str, str]:
    return {"DB_URL": url, "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"} | ONE_SMALL_WORKER


def seconds_until_closed(running: service.Service, sent: bytes) -> tuple[bytes, float]:
    """Send `sent` and wait until the server closes; return what came back, and the seconds."""
    with connect(running) as sock:
        started = time.monotonic()
        sock.sendall(sent)
        return read_all(sock), time.monotonic() - started


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(CHUNKED + b"000008000\r\n{", id="chunk size of nine digits"),
        pytest.param(CHUNKED + (b"1;a=" + b"x" * 8000 + b"\r\n \r\n") * 33, id="long chunk extensions"),
        pytest.param(
            b"GET /health/live HTTP/1.1\r\n" + b"X-A: " + b"a" * 8000 + b"\r\nX-Last: ", id="endless head"
        ),
        pytest.param(CHUNKED + b"0\r\nX-Trailer: ", id="endless trailer"),
        pytest.param(REGISTER_HEAD + b"Content-Length: 9000\r\n\r\n{", id="long body"),
    ],
)
def test_clients_that_send_a_byte_now_and_then_hold_no_thread(
    running: service.Service, message: bytes
) -> None:
    stop = threading.Event()

    def dribble(socks: list[socket.socket]) -> None:
        while not stop.wait(0.5):
            for sock in socks:
                with suppress(OSError):
                    sock.send(b" ")

    with ExitStack() as stack:
        socks = [stack.enter_context(connect(running)) for _ in range(40)]
        for sock in socks:
            sock.sendall(message)
        dribbler = threading.Thread(target=dribble, args=(socks,))
        dribbler.start()
        seconds = [seconds_of_health(running) for _ in range(10)]
        stop.set()
        dribbler.join()

    assert max(seconds) < 2


def test_clients_that_sip_their_answer_hold_no_thread(running: service.Service) -> None:
    with ExitStack() as stack:
        socks = []
        for _ in range(40):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(10)
            sock.connect(("127.0.0.1", running.port))
            sock.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 16)
            socks.append(sock)
        seconds = [seconds_of_health(running) for _ in range(10)]
        answer = read_all(socks[0])  # all of it comes to whoever reads

    assert max(seconds) < 2
    assert answer.count(b"HTTP/1.1 200 OK") == 16


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, id="TLS"),
        pytest.param(REGISTER_HEAD + b"Content-Length: 999999\r\n\r\n", 413, id="declared length"),
        pytest.param(
            REGISTER_HEAD + b"Expect: 100-continue\r\nContent-Length: 99999\r\n\r\n", 413, id="asked before"
        ),
        pytest.param(REGISTER_HEAD + b"Content-Length: 65537\r\n\r\n" + b"x" * 65537, 413, id="one too many"),
        pytest.param(CHUNKED + b"10001\r\n" + b"x" * 65537, 413, id="chunk"),
    ],
)
def test_what_needs_no_more_bytes_is_answered_at_once(
    running: service.Service, sent: bytes, status: int
) -> None:
    answer, seconds = seconds_until_closed(running, sent)

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"]
    assert seconds < 5  # 2 of which are for the client to close


def test_body_that_comes_later_is_answered_with_the_rest_unread(running: service.Service) -> None:
    with connect(running) as sock:
        sock.sendall(REGISTER_HEAD + b"Content-Length: 900000\r\n\r\n")
        time.sleep(0.3)
        sock.sendall(b"x" * 900_000)

        assert read_all(sock).startswith(b"HTTP/1.1 413 ")


def test_bodies_that_cost_much_delay_nobody_else(environ: dict[str, str], tmp_path: Path) -> None:
    nested = ",".join(["[" * 30 + "]" * 30] * 1000)
    body = f'{{"username": "ada", "password": "x", "more": [{nested}]}}'.encode()
    message = REGISTER_HEAD.replace(b"register", b"login") + b"Content-Length: %d\r\n\r\n" % len(body) + body

    with (
        service.running(
            tmp_path / "log", **environ | {"GUNICORN_THREADS": "100", "RATE_LIMITS": "off"}
        ) as started,
        ExitStack() as stack,
    ):
        socks = [stack.enter_context(connect(started)) for _ in range(100)]
        for sock in socks:
            sock.sendall(message)
        began = time.monotonic()
        assert requests.get(f"{started.url}/health/live", timeout=30).status_code == 200
        seconds = time.monotonic() - began
        statuses = {sock.recv(12) for sock in socks}

    assert statuses == {b"HTTP/1.1 401", b"HTTP/1.1 503"}  # one is read at a time, a few wait
    with yardstick.untraced():
        slowness = yardstick.slowness([yardstick.seconds() for _ in range(3)])
    assert seconds < 5 * slowness


def test_request_for_websocket_is_answered_as_what_it_is_without(running: service.Service) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}

    assert requests.get(f"{running.url}/health/live", headers=headers, timeout=10).status_code == 200


def test_half_closed_client_gets_its_answer(running: service.Service) -> None:
    with connect(running) as sock:
        sock.sendall(LIVE)
        sock.shutdown(socket.SHUT_WR)

        assert read_all(sock).endswith(b'{"status":"alive"}\n')
