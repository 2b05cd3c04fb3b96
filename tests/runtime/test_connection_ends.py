"""How a connection ends: deadlines, clients that close, break or flood, and failures."""

import logging
import select
import socket
import struct
from http import HTTPStatus
from typing import Any

import pytest

from runtime.bulkhead import Full
from runtime.client_connection import MAX_LINGER_BYTES, MAX_SECONDS, STOP_SECONDS, ClientConnection, State
from runtime.worker import BufferingWorker
from tests.support.fake_worker import (
    GET,
    KEEPALIVE,
    LONG,
    FakeWorker,
    client,
    conn,
    events_of,
    sockets,
    worker,
)

__all__ = ["client", "conn", "sockets", "worker"]  # fixtures


def test_nonsense_after_a_request_is_refused_after_its_answer(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET + b"\0")
    worker.turn()
    conn.send_answer(b"answer", keep_alive=True)
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
    [*MAX_SECONDS.items(), (State.IDLE, KEEPALIVE), (State.BUSY, float("inf"))],
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


def test_client_that_floods_instead_of_closing_is_cut_off(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(b"nonsense\r\n\r\n")
    worker.turn()
    assert conn.state is State.LINGERING

    sent = 0
    while worker.connections and sent < 2 * MAX_LINGER_BYTES:
        sent += client.send(b"x" * 100_000)
        for _ in range(10):
            worker.turn()

    assert MAX_LINGER_BYTES < sent <= MAX_LINGER_BYTES + 1_000_000


def test_rest_of_an_answer_to_a_client_who_is_gone_is_forgotten(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET)
    worker.turn()
    conn.send_answer(LONG, keep_alive=True)
    conn.close()

    worker.turn()

    assert (conn.state, events_of(worker)) == (State.CLOSED, [])


def test_connection_that_breaks_while_it_is_answered_is_closed_after_that(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET)
    worker.turn()
    conn.stop_reading()
    assert (conn.state, events_of(worker)) == (State.BUSY, [])

    conn.send_answer(b"answer", keep_alive=True)
    worker.turn()

    assert client.recv(100) == b"answer"
    assert conn.state is State.CLOSED


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
    conn.send_answer(b"answer", keep_alive=False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    [step] = worker.steps

    BufferingWorker._run_step(fake, conn, step)  # shutdown() fails

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

    BufferingWorker._run_step(fake, conn, conn.on_event)

    assert (conn.state, worker.connections) == (State.CLOSED, set())
    assert [line["exception"] for line in log_lines] == ["MemoryError"]
