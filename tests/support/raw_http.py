"""Clients that write their requests by hand, to a service that runs in a process of its own."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.support import SECRET_KEY, service
from tests.support.actor import Actor, HttpClient

# Few threads, so that clients that hold threads are noticed.
ONE_SMALL_WORKER = {"GUNICORN_WORKERS": "1", "GUNICORN_THREADS": "8", "HASH_QUEUE": "1"}
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
REGISTER_HEAD = b"POST /api/auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@contextmanager
def serving_ada(log: Path, **environ: str) -> Iterator[service.Service]:
    """Serve until the block ends, with ada as a user. No exception may stand in the log then."""
    with service.running(log, **{"SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"} | environ) as started:
        Actor(HttpClient(started.url)).register()
        yield started
    assert '"exception"' not in log.read_text()


def connect(running: service.Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=10)


def read_all(sock: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    received = b""
    while chunk := sock.recv(65536):
        received += chunk
    return received


def seconds_of_health(running: service.Service) -> float:
    """Return how long /health takes to answer 200."""
    started = time.monotonic()
    assert requests.get(f"{running.url}/health", timeout=30).status_code == 200
    return time.monotonic() - started


def raw_answer(running: service.Service, *headers: bytes, host: str = "127.0.0.1") -> bytes:
    """Ask for /health/live with `headers` and return the whole answer."""
    with socket.create_connection((host, running.port), timeout=10) as sock:
        lines = [b"GET /health/live HTTP/1.1", b"Host: x", b"Connection: close", *headers]
        sock.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        return read_all(sock)


def wait_for_log(running: service.Service, pattern: str) -> None:
    """Wait until a line of the log matches: a thread writes the lines, a little later."""
    deadline = time.monotonic() + 10
    while not re.search(pattern, running.log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
