"""The limits of a worker: open files, memory, and a reader of the log that stalls."""

import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from tests.support import SECRET_KEY, service
from tests.support.raw_http import (
    LIVE,
    ONE_SMALL_WORKER,
    REGISTER_HEAD,
    connect,
    read_all,
    seconds_of_health,
    wait_for_log,
)
from tests.support.registrations import ADA

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environ(url: str) -> dict[str, str]:
    return {"DB_URL": url, "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"} | ONE_SMALL_WORKER


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
        _, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (opened + 20, hard))
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(connect(started)).sendall(b"GET /")
            wait_for_log(started, "accepting_paused")
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
        wait_for_log(running, "request_refused status=503")
        growth = resident_bytes(worker) - before
        assert seconds_of_health(running) < 5

    assert growth < 100_000_000


def read_answers(sock: socket.socket, count: int) -> bytes:
    """Read until `count` answers of /health/live are here."""
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
        dropped = next(line for line in lines if b"log_lines_dropped" in line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)

    assert 0 < int(json.loads(dropped)["message"].partition("count=")[2]) < 2200
    assert process.returncode == 0


def test_stopping_worker_answers_who_is_connected_and_refuses_the_rest(
    environ: dict[str, str], tmp_path: Path
) -> None:
    slow = environ | {"BCRYPT_ROUNDS": "14"}  # a second or so
    with service.running(tmp_path / "log", **slow) as started, ExitStack() as stack:
        body = json.dumps(ADA | {"username": "slow", "email": "slow@example.com"})
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
