"""A connection on its own: what it does with an answer that the client does not take, and for how long."""

import logging
import select
import socket
import struct
from collections.abc import Callable, Iterator
from http import HTTPStatus
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.bulkhead import Full
from runtime.client_connection import LINGER_BYTES, SECONDS, STOP_SECONDS, ClientConnection, State
from runtime.worker import BufferingWorker

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LONG = b"a" * 2_000_000
KEEPALIVE = 75.0


class FakeWorker:
    """The parts of a worker that a connection uses; it keeps the requests that it is given."""

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

    def count(self, conn: ClientConnection, incomplete_bytes: int) -> None:
        self.held += incomplete_bytes - conn.counted_bytes
        conn.counted_bytes = incomplete_bytes

    def has_no_room(self) -> bool:
        return self.full

    def in_main_loop(self, _conn: ClientConnection, step: Callable[[], None]) -> None:
        self.steps.append(step)

    def turn(self) -> None:
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
    made = ClientConnection(fake, sockets[1], ("127.0.0.1", 1), ("127.0.0.1", 2))
    worker.connections.add(made)
    return made


def events_of(worker: FakeWorker) -> list[int]:
    return [key.events for key in worker.poller.get_map().values()]


def test_answer_that_is_taken_leaves_the_connection_for_the_next_request(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET)
    worker.turn()
    conn.answer(b"answer", keep_alive=True)

    assert client.recv(100) == b"answer"
    assert (conn.state, worker.steps) == (State.IDLE, [])
    client.sendall(GET)
    worker.turn()
    assert len(worker.submitted) == 2


@pytest.mark.parametrize(("keep_alive", "state"), [(True, State.IDLE), (False, State.LINGERING)])
def test_rest_of_a_long_answer_is_sent_by_the_main_loop(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket, keep_alive: bool, state: State
) -> None:
    client.sendall(GET)
    worker.turn()
    conn.answer(LONG, keep_alive=keep_alive)
    worker.turn()
    assert (conn.state, events_of(worker)) == (State.SENDING, [EVENT_WRITE])

    received = b""
    while len(received) < len(LONG):
        received += client.recv(1_000_000)
        worker.turn()
    worker.turn()

    assert received == LONG
    assert (conn.state, events_of(worker)) == (state, [EVENT_READ])


def test_request_that_came_while_an_answer_was_made_follows(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET)
    worker.turn()
    client.sendall(GET)
    worker.turn()
    assert len(worker.submitted) == 1

    conn.answer(b"answer", keep_alive=True)
    worker.turn()

    assert len(worker.submitted) == 2
    assert conn.state is State.BUSY


@pytest.mark.parametrize("long", [False, True])
def test_client_that_sends_no_more_still_gets_its_answer(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket, long: bool
) -> None:
    client.sendall(GET)
    worker.turn()
    client.shutdown(socket.SHUT_WR)
    worker.turn()
    conn.answer(LONG if long else b"answer", keep_alive=False)
    worker.turn()

    received = b""
    while part := client.recv(1_000_000):
        received += part
        worker.turn()

    assert received == (LONG if long else b"answer")
    assert worker.connections == set()


def test_nonsense_after_a_request_is_refused_after_its_answer(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET + b"\0")
    worker.turn()
    conn.answer(b"answer", keep_alive=True)
    worker.turn()

    assert client.recv(1000).startswith(b"answerHTTP/1.1 400 ")
    assert conn.state is State.LINGERING


def test_request_for_which_there_is_no_room_is_refused(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    worker.full = True
    client.sendall(GET[:10])
    worker.turn()

    status = HTTPStatus.SERVICE_UNAVAILABLE.value
    assert client.recv(1000).startswith(b"HTTP/1.1 %d " % status)
    assert worker.held == 0


def test_bytes_of_a_closed_connection_are_not_counted_any_more(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET[:10])
    worker.turn()
    assert worker.held == 10
    conn.close()
    conn.close()

    assert (worker.held, worker.connections, events_of(worker)) == (0, set(), [])


@pytest.mark.parametrize(
    ("state", "seconds"),
    [*SECONDS.items(), (State.IDLE, KEEPALIVE), (State.BUSY, float("inf"))],
    ids=lambda value: getattr(value, "name", None),
)
def test_deadline_of_each_state(conn: ClientConnection, state: State, seconds: float) -> None:
    conn.state = state

    assert not conn.is_overdue(conn.since + min(seconds, 10_000) - 0.1)
    assert conn.is_overdue(conn.since + min(seconds, 10_000) + 0.1) is (state is not State.BUSY)


def test_byte_now_and_then_renews_no_deadline(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET[:1])
    worker.turn()
    since = conn.since
    client.sendall(GET[1:2])
    worker.turn()

    assert (conn.state, conn.since) == (State.READING, since)


@pytest.mark.parametrize(("state", "closes"), [(State.IDLE, True), (State.NEW, True), (State.BUSY, False)])
def test_stopping_worker_waits_shortly_for_a_first_byte(
    worker: FakeWorker, conn: ClientConnection, state: State, closes: bool
) -> None:
    worker.alive = False
    conn.state = state

    assert not conn.is_overdue(conn.since + STOP_SECONDS - 0.1)
    assert conn.is_overdue(conn.since + STOP_SECONDS + 0.1) is closes


def test_client_that_goes_on_while_it_is_answered_is_not_read(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET)
    worker.turn()
    client.sendall(b"\r\n")  # an empty line, which is no part of a request
    worker.turn()
    assert events_of(worker) == []

    conn.answer(b"answer", keep_alive=True)
    worker.turn()
    assert (conn.state, events_of(worker)) == (State.IDLE, [EVENT_READ])
    client.sendall(GET)
    worker.turn()
    assert len(worker.submitted) == 2


def test_client_that_floods_instead_of_closing_is_cut_off(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(b"nonsense\r\n\r\n")
    worker.turn()
    assert conn.state is State.LINGERING

    sent = 0
    while worker.connections and sent < 2 * LINGER_BYTES:
        sent += client.send(b"x" * 100_000)
        for _ in range(10):
            worker.turn()

    assert LINGER_BYTES < sent <= LINGER_BYTES + 1_000_000


@pytest.mark.parametrize("state", [State.BUSY, State.SENDING, State.LINGERING, State.CLOSED])
def test_thread_that_looks_late_has_nothing_answered_out_of_turn(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket, state: State
) -> None:
    client.sendall(GET * 3)
    worker.turn()
    conn.answer(b"answer", keep_alive=True)
    conn.state = state  # the main loop was faster, and is further with the connection already

    worker.turn()

    assert len(worker.submitted) == 1


def test_rest_of_an_answer_to_a_client_who_is_gone_is_forgotten(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET)
    worker.turn()
    conn.answer(LONG, keep_alive=True)
    conn.close()

    worker.turn()

    assert (conn.state, events_of(worker)) == (State.CLOSED, [])


def test_connection_that_breaks_while_it_is_answered_is_closed_after_that(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET)
    worker.turn()
    conn.end()
    assert (conn.state, events_of(worker)) == (State.BUSY, [])

    conn.answer(b"answer", keep_alive=True)
    worker.turn()

    assert client.recv(100) == b"answer"
    assert conn.state is State.CLOSED


def test_requests_that_a_client_sent_before_it_closed_its_end_are_all_answered(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET * 3)
    worker.turn()
    client.shutdown(socket.SHUT_WR)
    for _ in range(3):
        conn.answer(b"answer", keep_alive=True)
        worker.turn()

    assert len(worker.submitted) == 3
    assert conn.state is State.CLOSED


def test_request_that_begins_behind_another_has_a_deadline_of_its_own(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET + b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    worker.turn()
    conn.answer(b"answer", keep_alive=True)
    worker.turn()

    assert conn.state is State.READING
    assert client.recv(100) == b"answerHTTP/1.1 100 Continue\r\n\r\n"


def test_client_of_a_unix_socket_has_no_address(
    worker: FakeWorker, sockets: tuple[socket.socket, socket.socket]
) -> None:
    fake: Any = worker
    conn = ClientConnection(fake, sockets[1], "", "/run/service.sock")

    assert (conn.client, conn.server) == (("", 0), ("", 0))


def test_client_that_resets_before_its_connection_is_finished_leaves_nothing(worker: FakeWorker) -> None:
    fake: Any = worker
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, address = listener.accept()
    conn = ClientConnection(fake, server, address, address)
    worker.connections.add(conn)
    client.sendall(GET)
    select.select([server], [], [], 5)
    worker.turn()
    conn.answer(b"answer", keep_alive=False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    [step] = worker.steps

    BufferingWorker._guarded(fake, conn, step)  # shutdown() fails

    assert (conn.state, worker.connections) == (State.CLOSED, set())


def test_request_that_no_thread_can_answer_is_refused(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(*_: object) -> None:
        raise Full

    monkeypatch.setattr(worker, "submit", submit)
    client.sendall(GET)
    worker.turn()

    assert client.recv(1000).startswith(b"HTTP/1.1 503 ")
    assert conn.state is State.LINGERING


def test_requests_behind_a_long_answer_are_answered_although_the_client_sends_no_more(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET * 2)
    worker.turn()
    client.shutdown(socket.SHUT_WR)
    conn.half_closed = True
    conn.answer(LONG, keep_alive=True)

    received = b""
    while len(received) < len(LONG):
        worker.turn()
        received += client.recv(1_000_000)
    worker.turn()

    assert len(worker.submitted) == 2
    assert conn.state is State.BUSY


def test_request_that_cannot_be_submitted_leaves_nothing(
    worker: FakeWorker,
    conn: ClientConnection,
    client: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[dict[str, Any]],
) -> None:
    def submit(*_: object) -> None:
        raise MemoryError

    fake: Any = worker
    fake.log = logging.getLogger("worker")
    monkeypatch.setattr(worker, "submit", submit)
    client.sendall(GET)

    BufferingWorker._guarded(fake, conn, conn.on_event)

    assert (conn.state, worker.connections) == (State.CLOSED, set())
    assert [line["exception"] for line in log_lines] == ["MemoryError"]
