"""Slow, broken and many clients: others are served without delay meanwhile."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.support import PASSWORD, SECRET_KEY, service
from tests.support.actor import Actor, HttpClient
from tests.support.database import MakeDatabase, run_sql
from tests.support.raw_http import (
    REGISTER_HEAD,
    connect,
    read_all,
    seconds_of_health,
)
from tests.support.registrations import ADA

pytestmark = pytest.mark.slow


def seconds_until_cut_off(running: service.Service) -> float:
    """Never finish a request; return after how long the service closes the connection without an answer."""
    with connect(running) as sock:
        sock.settimeout(15)
        sock.sendall(REGISTER_HEAD + b"Content-Length: 100\r\n\r\n{")

        started = time.monotonic()
        assert read_all(sock) == b""
        return time.monotonic() - started


@pytest.fixture(scope="module", autouse=True)
def never_finishing(running: service.Service) -> Iterator["Future[float]"]:
    """A client that never finishes, beside the other tests of the module: it waits for 10 s."""
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(seconds_until_cut_off, running)


@pytest.fixture
def ada(running: service.Service) -> Actor:
    return Actor(HttpClient(running.url))


def dribble(sock: socket.socket, stop: threading.Event) -> None:
    """Send a byte a second until `stop` is set."""
    while not stop.wait(1):
        try:
            sock.send(b"a")
        except OSError:
            return


def test_slow_clients_do_not_delay_others(
    running: service.Service, ada: Actor, connections_at_once: int
) -> None:
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
            assert ada.try_log_in().status_code == 200
            time.sleep(0.1)
        stop.set()
        for dribbler in dribblers:
            dribbler.join()

    assert max(seconds) < 1


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


def test_client_that_hangs_up_leaves_no_trace(running: service.Service, url: str) -> None:
    body = json.dumps({"username": "gone", "email": "gone@example.com", "password": PASSWORD}).encode()
    for sent in range(0, len(body), 7):
        with connect(running) as sock:
            sock.sendall(REGISTER_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:sent])

    assert seconds_of_health(running) < 1
    assert run_sql(url, "SELECT count(*) FROM users WHERE username = 'gone'") == [(0,)]


def test_storm_of_logins_is_bounded_and_delays_nobody_else(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "HASH_QUEUE": "2", "HASH_SLOTS": "1"}
    stop = threading.Event()
    answers: list[requests.Response] = []

    with service.running(tmp_path / "log", GUNICORN_WORKERS="1", **environ) as started:
        ada = Actor(HttpClient(started.url)).register()

        def hammer() -> None:
            while not stop.is_set():
                answers.append(requests.post(f"{started.url}/api/auth/login", json=ADA, timeout=30))
                time.sleep(0.05)

        hammers = [threading.Thread(target=hammer) for _ in range(12)]
        for thread in hammers:
            thread.start()
        seconds = []
        for _ in range(20):
            begun = time.monotonic()
            assert ada.me().status_code == 200
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


def test_client_that_never_finishes_is_cut_off(never_finishing: "Future[float]") -> None:
    assert 5 < never_finishing.result() < 14
