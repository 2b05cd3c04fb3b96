"""Clients that mean no good: whatever they do, a worker goes on, and others are served meanwhile."""

import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from tests.support import PASSWORD, SECRET_KEY, service
from tests.support.database import MakeDatabase
from tests.system.test_gunicorn import (
    ADA,
    REGISTER_HEAD,
    connect,
    connections_at_once,
    read_all,
    seconds_of_health,
)

__all__ = ["connections_at_once"]  # a fixture

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = REGISTER_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def environ(make_database: MakeDatabase) -> dict[str, str]:
    return {
        "DB_URL": make_database(),
        "SECRET_KEY": SECRET_KEY,
        "BCRYPT_ROUNDS": "4",
        "GUNICORN_WORKERS": "1",
        "GUNICORN_THREADS": "8",
        "HASH_QUEUE": "1",
    }


@pytest.fixture(scope="module")
def running(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    with service.running(tmp_path_factory.mktemp("service") / "log", **environ) as started:
        assert requests.post(f"{started.url}/api/auth/register", json=ADA, timeout=10).status_code == 201
        yield started
    assert '"exception"' not in started.log.read_text()


def seconds_until_closed(running: service.Service, sent: bytes) -> tuple[bytes, float]:
    """Send `sent` and nothing more; return what came back and how long that took."""
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
        service.running(tmp_path / "log", **environ | {"GUNICORN_THREADS": "100"}) as started,
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
    assert seconds < 5


def test_request_for_websocket_is_answered_as_what_it_is_without(running: service.Service) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}

    assert requests.get(f"{running.url}/health/live", headers=headers, timeout=10).status_code == 200


def test_half_closed_client_gets_its_answer(running: service.Service) -> None:
    with connect(running) as sock:
        sock.sendall(LIVE)
        sock.shutdown(socket.SHUT_WR)

        assert read_all(sock).endswith(b'{"status":"alive"}\n')


def test_silent_connections_give_way_to_new_ones(environ: dict[str, str], tmp_path: Path) -> None:
    with (
        service.running(tmp_path / "log", before="ulimit -n 160", **environ) as started,
        ExitStack() as stack,
    ):
        workers = started.workers()
        for _ in range(200):
            stack.enter_context(connect(started))
        statuses = [requests.get(f"{started.url}/health", timeout=30).status_code for _ in range(20)]
        descriptors = len(os.listdir(f"/proc/{workers[0]}/fd"))

        assert statuses == [200] * 20
        assert descriptors < 160
        assert started.workers() == workers
    assert '"exception"' not in started.log.read_text()


def test_limit_of_descriptors_pauses_accepting(environ: dict[str, str], tmp_path: Path) -> None:
    with service.running(tmp_path / "log", **environ) as started:
        [worker] = started.workers()
        seconds_of_health(started)
        opened = len(os.listdir(f"/proc/{worker}/fd"))
        _, most = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (opened + 20, most))
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(connect(started)).sendall(b"GET /")
            deadline = time.monotonic() + 10
            while "accepting_paused" not in started.log.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert requests.get(f"{started.url}/health", timeout=30).status_code == 200
        assert started.workers() == [worker]

    log = started.log.read_text()
    assert "accepting_paused" in log
    assert log.count("accepting_paused") < 20
    assert '"exception"' not in log


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_memory_of_requests_on_their_way_is_bounded(
    running: service.Service, connections_at_once: int
) -> None:
    part = REGISTER_HEAD + b"Content-Length: 65536\r\nX-A: " + b"a" * 8000 + b"\r\n"
    part += b"".join(b"X-%d: " % n + b"a" * 7000 + b"\r\n" for n in range(3)) + b"\r\n" + b"x" * 65_000
    [worker] = running.workers()
    before = resident_bytes(worker)

    with ExitStack() as stack:
        for _ in range(connections_at_once):
            sock = stack.enter_context(connect(running))
            with suppress(OSError):
                sock.sendall(part)
        deadline = time.monotonic() + 10
        while "request_refused status=503" not in running.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        growth = resident_bytes(worker) - before
        assert seconds_of_health(running) < 5

    assert growth < 100_000_000


def read_answers(sock: socket.socket, count: int) -> bytes:
    """Read until so many answers of /health/live are here."""
    received = b""
    while received.count(b"}\n") < count:
        received += sock.recv(65536)
    return received


def test_reader_of_the_log_that_stalls_stops_nobody(environ: dict[str, str], tmp_path: Path) -> None:
    code = service.copy_code(tmp_path / "code")
    port = service.free_port()
    variables = service.ENVIRON | environ | {"PORT": str(port)}
    command = [sys.executable, "-m", "gunicorn"]
    process = subprocess.Popen(command, cwd=code, env=variables, stdout=subprocess.PIPE)
    assert process.stdout
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    try:
        process.stdout.readline()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(requests.ConnectionError):
                requests.get(f"http://127.0.0.1:{port}/health/live", timeout=10)
                break
            time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            for _ in range(220):  # 2000 lines wait, and the pipe takes a few
                sock.sendall(LIVE * 10)
                assert read_answers(sock, 10).count(b'{"status":"alive"}') == 10
        lines = iter(process.stdout.readline, b"")
        told = next(line for line in lines if b"log_lines_dropped" in line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)

    assert 0 < int(json.loads(told)["message"].partition("count=")[2]) < 2200
    assert process.returncode == 0


def test_stopping_worker_answers_who_is_connected_and_refuses_the_rest(
    environ: dict[str, str], tmp_path: Path
) -> None:
    slow = environ | {"BCRYPT_ROUNDS": "14"}  # a second or so
    with service.running(tmp_path / "log", **slow) as started, ExitStack() as stack:
        body = json.dumps(ADA | {"username": "slow", "email": "slow@example.com", "password": PASSWORD})
        register = REGISTER_HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body.encode())
        kept = stack.enter_context(connect(started))
        kept.sendall(LIVE)
        kept.recv(4096)
        slow_one = stack.enter_context(connect(started))
        slow_one.sendall(register)
        time.sleep(0.2)
        started.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)

        kept.sendall(LIVE)
        assert b"Connection: close" in read_all(kept)
        with pytest.raises(ConnectionRefusedError):
            connect(started)
        assert read_all(slow_one).startswith(b"HTTP/1.1 201 ")
        started.process.wait(30)

    assert started.process.returncode == 0
