"""A connection on its own: one end of a pair of sockets, and a worker that only keeps what it gets."""

import socket
from collections.abc import Callable, Iterator
from selectors import DefaultSelector
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.client_connection import ClientConnection

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LONG = b"a" * 2_000_000
KEEPALIVE = 75.0


class FakeWorker:
    """The parts of a worker that a connection uses. It keeps the requests and the steps that it gets."""

    def __init__(self) -> None:
        self.alive = True
        self.full = False
        self.cfg = SimpleNamespace(keepalive=KEEPALIVE)
        self.log = SimpleNamespace(warning=lambda *_: None)
        self.poller = DefaultSelector()
        self.connections: set[ClientConnection] = set()
        self.submitted: list[Any] = []
        self.held = 0
        self.steps: list[Callable[[], None]] = []

    def submit(self, _conn: ClientConnection, request: object) -> None:
        self.submitted.append(request)

    def count_incomplete(self, conn: ClientConnection, incomplete_bytes: int) -> None:
        self.held += incomplete_bytes - conn.counted_bytes
        conn.counted_bytes = incomplete_bytes

    def is_buffer_full(self) -> bool:
        return self.full

    def call_in_main_loop(self, _conn: ClientConnection, step: Callable[[], None]) -> None:
        self.steps.append(step)

    def turn(self) -> None:
        """Do what the main loop does in one turn."""
        for key, _ in self.poller.select(0):
            key.data.on_event()
        for step in self.steps[:]:
            self.steps.remove(step)
            step()


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection: the client's and the worker's."""
    client, server = socket.socketpair()
    client.settimeout(1)
    with client, server:
        yield client, server


@pytest.fixture
def client(sockets: tuple[socket.socket, socket.socket]) -> socket.socket:
    return sockets[0]


@pytest.fixture
def conn(worker: FakeWorker, sockets: tuple[socket.socket, socket.socket]) -> ClientConnection:
    fake: Any = worker
    accepted = ClientConnection(fake, sockets[1], ("127.0.0.1", 1), ("127.0.0.1", 2))
    worker.connections.add(accepted)
    return accepted


def events_of(worker: FakeWorker) -> list[int]:
    """Return the events that the worker waits for, of each socket."""
    return [key.events for key in worker.poller.get_map().values()]
