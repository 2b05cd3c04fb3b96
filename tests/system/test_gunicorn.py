"""The service as production starts it: several workers, signals, slow and broken clients, login storms."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.support import PASSWORD, SECRET_KEY, service
from tests.support.database import MakeDatabase, run_sql

ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
REGISTER_HEAD = b"POST /api/auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def url(make_database: MakeDatabase) -> str:
    return make_database()


@pytest.fixture(scope="module")
def running(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    with service.running(log, DB_URL=url, SECRET_KEY=SECRET_KEY, BCRYPT_ROUNDS="4") as started:
        answer = requests.post(f"{started.url}/api/auth/register", json=ADA, timeout=10)
        assert answer.status_code == 201, answer.text
        yield started
    assert '"exception"' not in log.read_text()


def connect(running: service.Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=10)


def read_all(sock: socket.socket) -> bytes:
    """Read until the server closes."""
    received = b""
    while chunk := sock.recv(65536):
        received += chunk
    return received


def seconds_of_health(running: service.Service) -> float:
    started = time.monotonic()
    assert requests.get(f"{running.url}/health", timeout=30).status_code == 200
    return time.monotonic() - started


def wait_for_workers(running: service.Service, count: int) -> list[int]:
    deadline = time.monotonic() + 10
    while len(running.workers()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return running.workers()


def test_four_workers_that_start_at_once_on_an_empty_database_all_serve(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "GUNICORN_WORKERS": "4"}

    with service.running(log, **environ) as started:
        for _ in range(20):
            assert requests.get(f"{started.url}/health", timeout=10).status_code == 200
        workers = wait_for_workers(started, 4)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(workers) == 4
    assert [line for line in lines if line["level"] in ("ERROR", "CRITICAL")] == []
    assert "schema_applied" in log.read_text()


def test_every_line_of_the_log_is_json_and_sigterm_ends_with_status_0(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    environ = {"DB_URL": make_database(), "SECRET_KEY": "short", "FLASK_DEBUG": "1"}

    with service.running(log, **environ) as started:
        requests.post(f"{started.url}/api/auth/login", data="{", timeout=10)
        requests.post(f"{started.url}/api/auth/register", json=ADA, timeout=10)
        run_sql(environ["DB_URL"], "UPDATE users SET created_at = '20000-01-01'")  # no date of Python's
        broken = requests.post(f"{started.url}/api/auth/login", json=ADA, timeout=10)

    messages = [json.loads(line)["message"] for line in log.read_text().splitlines()]
    assert (broken.status_code, broken.json()["code"]) == (500, "internal_error")
    assert started.process.returncode == 0
    assert any(message.startswith("insecure_setting: SECRET_KEY is shorter") for message in messages)
    assert "FLASK_DEBUG only means LOG_LEVEL=DEBUG here: no debugger under gunicorn" in messages


def test_sigterm_lets_requests_in_flight_finish(make_database: MakeDatabase, tmp_path: Path) -> None:
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "12"}

    with service.running(tmp_path / "log", **environ) as started, ThreadPoolExecutor(8) as threads:
        bodies = [ADA | {"username": f"u{n}", "email": f"u{n}@example.com"} for n in range(8)]
        in_flight = [
            threads.submit(requests.post, f"{started.url}/api/auth/register", json=body, timeout=30)
            for body in bodies
        ]
        time.sleep(0.3)
        started.process.send_signal(signal.SIGTERM)
        statuses = [done.result().status_code for done in in_flight]

    assert statuses == [201] * 8


def raw_answer(running: service.Service, *headers: bytes, host: str = "127.0.0.1") -> bytes:
    """Ask for /health/live with `headers` and return the whole answer."""
    with socket.create_connection((host, running.port), timeout=10) as sock:
        lines = [b"GET /health/live HTTP/1.1", b"Host: x", b"Connection: close", *headers]
        sock.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        return read_all(sock)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this kernel has no IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_service_listens_on_both_versions_of_ip(running: service.Service, host: str) -> None:
    assert raw_answer(running, host=host).startswith(b"HTTP/1.1 200")

    deadline = time.monotonic() + 10
    wanted = f'"path": "/health/live", "status": 200, "duration_ms": [0-9.]+, "remote_addr": "{host}"'
    while not re.search(wanted, running.log.read_text()):  # a thread writes it, a little later
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off"], id="schemes that differ"),
        pytest.param([b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http"], id="two schemes"),
        pytest.param([b"SCRIPT_NAME: /elsewhere"], id="name of a script"),
        pytest.param([b"PATH_INFO: /elsewhere"], id="path"),
    ],
)
def test_headers_of_proxies_change_nothing(running: service.Service, headers: list[bytes]) -> None:
    answer = raw_answer(running, *headers)

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"status":"alive"}\n')


def test_log_says_at_the_start_what_was_chosen_and_why(running: service.Service) -> None:
    first = [json.loads(line)["message"] for line in running.log.read_text().splitlines()]

    (told,) = [message for message in first if message.startswith("capacity: ")]
    assert "GUNICORN_WORKERS=2 (set) GUNICORN_THREADS=" in told
    assert "DB_POOL_SIZE=8, at most 18 connections; " in told
    assert f" of the machine's {os.cpu_count()} cores" in told


@pytest.mark.parametrize(("given", "seconds"), [({}, 75), ({"KEEPALIVE_SECONDS": "30"}, 30)])
def test_idle_connections_are_kept_as_long_as_is_set(
    tmp_path: Path, given: dict[str, str], seconds: int
) -> None:
    environ = {"DB_URL": "postgresql://127.0.0.1:1/none", "SECRET_KEY": SECRET_KEY} | given

    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--print-config"],
        cwd=service.copy_code(tmp_path / "code"),
        env=service.ENVIRON | environ,
        capture_output=True,
        text=True,
    )

    assert re.search(rf"^keepalive += {seconds}$", done.stdout, re.MULTILINE)


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    code = service.copy_code(tmp_path / "code")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environ = {"DB_URL": "postgresql://127.0.0.1:1/none", "SECRET_KEY": SECRET_KEY, "PORT": port}
        done = subprocess.run(
            [sys.executable, "-m", "gunicorn"],
            cwd=code,
            env=service.ENVIRON | environ,
            capture_output=True,
            text=True,
        )

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"Port {port} cannot be used (Address already in use): choose another with PORT."
    ]
    assert '"ERROR"' not in done.stdout


def test_killed_worker_is_replaced_while_the_others_serve(running: service.Service) -> None:
    before = running.workers()

    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while before[0] in running.workers():
        assert time.monotonic() < deadline
        assert seconds_of_health(running) < 1
    wait_for_workers(running, 2)
    for _ in range(20):
        assert requests.post(f"{running.url}/api/auth/login", json=ADA, timeout=10).status_code == 200

    assert len(running.workers()) == 2


def test_heartbeats_and_hash_slots_are_files_that_nobody_can_remove(running: service.Service) -> None:
    opened = [os.readlink(path) for path in Path(f"/proc/{running.process.pid}/fd").iterdir()]
    folders = ("/dev/shm/", f"{tempfile.gettempdir()}/")  # noqa: S108
    temporary = [name for name in opened if name.startswith(folders)]
    without_a_name = [name for name in temporary if name.endswith(" (deleted)")]

    assert len(without_a_name) == len(running.workers())
    assert "/memfd:hash-slots (deleted)" in opened
    assert set(temporary) - set(without_a_name) <= {str(running.log)}


@pytest.fixture
def connections_at_once() -> Iterator[int]:
    """Raise the limit of open files, which is often 1024, and return how many connections it allows."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = min(most, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    yield min(1400, allowed - 300)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def dribble(sock: socket.socket, stop: threading.Event) -> None:
    """Send a byte a second until told to stop."""
    while not stop.wait(1):
        try:
            sock.send(b"a")
        except OSError:
            return


def test_slow_clients_do_not_delay_others(running: service.Service, connections_at_once: int) -> None:
    parts = [
        b"",  # silent
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Half: ",
        REGISTER_HEAD + b'Content-Length: 100\r\n\r\n{"username"',
        REGISTER_HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"us',
        REGISTER_HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n\r\n0\r\n\r\n",
        REGISTER_HEAD + b"Expect: 100-continue\r\nContent-Length: 45\r\n\r\n",
    ]
    of_each = connections_at_once // (len(parts) + 1)
    stop = threading.Event()

    with ExitStack() as stack:
        for part in parts:
            for _ in range(of_each):
                sock = stack.enter_context(connect(running))
                sock.sendall(part)
        slow = [stack.enter_context(connect(running)) for _ in range(of_each)]
        dribblers = [threading.Thread(target=dribble, args=(sock, stop)) for sock in slow]
        for dribbler in dribblers:
            dribbler.start()

        seconds = []
        for _ in range(20):
            seconds.append(seconds_of_health(running))
            assert requests.post(f"{running.url}/api/auth/login", json=ADA, timeout=10).status_code == 200
            time.sleep(0.1)
        stop.set()
        for dribbler in dribblers:
            dribbler.join()

    assert max(seconds) < 1


def test_client_that_never_finishes_is_cut_off(running: service.Service) -> None:
    with connect(running) as sock:
        sock.settimeout(15)
        sock.sendall(REGISTER_HEAD + b"Content-Length: 100\r\n\r\n{")

        started = time.monotonic()
        assert read_all(sock) == b""
        assert 5 < time.monotonic() - started < 14


def test_client_that_never_closes_does_not_block_the_worker(running: service.Service) -> None:
    with ExitStack() as stack:
        for _ in range(50):
            sock = stack.enter_context(connect(running))
            sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        assert max(seconds_of_health(running) for _ in range(10)) < 1


def test_health_that_many_ask_for_is_not_called_ill(running: service.Service) -> None:
    def ask(_: int) -> int:
        return requests.get(f"{running.url}/health", timeout=30).status_code

    with ThreadPoolExecutor(80) as threads:
        statuses = list(threads.map(ask, range(600)))

    assert set(statuses) == {200}


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
    assert json.loads(body) == {"error": "The request could not be understood.", "code": "bad_request"}
    assert "request_refused status=400 remote_addr=127.0.0.1" in running.log.read_text()
    assert "hunter2" not in running.log.read_text()


def test_client_that_hangs_up_leaves_no_trace(running: service.Service, url: str) -> None:
    body = json.dumps({"username": "gone", "email": "gone@example.com", "password": PASSWORD}).encode()
    for sent in range(0, len(body), 7):
        with connect(running) as sock:
            sock.sendall(REGISTER_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:sent])

    assert seconds_of_health(running) < 1
    assert run_sql(url, "SELECT count(*) FROM users WHERE username = 'gone'") == [(0,)]


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
    live = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"

    with connect(running) as sock:
        sock.sendall(live + b"\r\n" + live + b"\r\n" + live + b"Connection: close\r\n\r\n")
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


def test_storm_of_logins_is_bounded_and_delays_nobody_else(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "HASH_QUEUE": "2", "HASH_SLOTS": "1"}
    stop = threading.Event()
    answers: list[requests.Response] = []

    with service.running(tmp_path / "log", GUNICORN_WORKERS="1", **environ) as started:
        token = requests.post(f"{started.url}/api/auth/register", json=ADA, timeout=30).json()["token"]

        def hammer() -> None:
            while not stop.is_set():
                answers.append(requests.post(f"{started.url}/api/auth/login", json=ADA, timeout=30))
                time.sleep(0.05)

        hammers = [threading.Thread(target=hammer) for _ in range(12)]
        for thread in hammers:
            thread.start()
        seconds = []
        for _ in range(40):
            begun = time.monotonic()
            headers = {"Authorization": f"Bearer {token}"}
            assert requests.get(f"{started.url}/api/auth/me", headers=headers, timeout=30).status_code == 200
            seconds.append(time.monotonic() - begun)
            time.sleep(0.05)
        stop.set()
        for thread in hammers:
            thread.join()

    accepted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert accepted
    assert refused
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, "busy")}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert max(answer.elapsed.total_seconds() for answer in accepted) < 5  # one running, two waiting
    assert sorted(seconds)[len(seconds) // 2] < 0.25  # the shortest bcrypt run
