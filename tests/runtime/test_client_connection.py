"""A connection on its own: in which order it has requests answered, and how an answer reaches the client."""

import socket
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import pytest

from runtime.client_connection import ClientConnection, State
from tests.support.fake_worker import GET, LONG, FakeWorker, client, conn, events_of, sockets, worker

__all__ = ["client", "conn", "sockets", "worker"]  # fixtures


def test_answer_that_is_taken_leaves_the_connection_for_the_next_request(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET)
    worker.turn()
    conn.send_answer(b"answer", keep_alive=True)

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
    conn.send_answer(LONG, keep_alive=keep_alive)
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

    conn.send_answer(b"answer", keep_alive=True)
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
    conn.send_answer(LONG if long else b"answer", keep_alive=False)
    worker.turn()

    received = b""
    while part := client.recv(1_000_000):
        received += part
        worker.turn()

    assert received == (LONG if long else b"answer")
    assert worker.connections == set()


def test_client_that_goes_on_while_it_is_answered_is_not_read(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET)
    worker.turn()
    client.sendall(b"\r\n")  # an empty line, which is no part of a request
    worker.turn()
    assert events_of(worker) == []

    conn.send_answer(b"answer", keep_alive=True)
    worker.turn()
    assert (conn.state, events_of(worker)) == (State.IDLE, [EVENT_READ])
    client.sendall(GET)
    worker.turn()
    assert len(worker.submitted) == 2


@pytest.mark.parametrize("state", [State.BUSY, State.SENDING, State.LINGERING, State.CLOSED])
def test_thread_that_looks_late_has_nothing_answered_out_of_turn(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket, state: State
) -> None:
    client.sendall(GET * 3)
    worker.turn()
    conn.send_answer(b"answer", keep_alive=True)
    conn.state = state  # the main loop was faster, and is further with the connection already

    worker.turn()

    assert len(worker.submitted) == 1


def test_requests_that_a_client_sent_before_it_closed_its_end_are_all_answered(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET * 3)
    worker.turn()
    client.shutdown(socket.SHUT_WR)
    for _ in range(3):
        conn.send_answer(b"answer", keep_alive=True)
        worker.turn()

    assert len(worker.submitted) == 3
    assert conn.state is State.CLOSED


def test_request_that_begins_behind_another_has_a_deadline_of_its_own(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET + b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    worker.turn()
    conn.send_answer(b"answer", keep_alive=True)
    worker.turn()

    assert conn.state is State.READING
    assert client.recv(100) == b"answerHTTP/1.1 100 Continue\r\n\r\n"


def test_client_of_a_unix_socket_has_no_address(
    worker: FakeWorker, sockets: tuple[socket.socket, socket.socket]
) -> None:
    fake: Any = worker
    conn = ClientConnection(fake, sockets[1], "", "/run/service.sock")

    assert (conn.client, conn.server) == (("", 0), ("", 0))


def test_requests_behind_a_long_answer_are_answered_although_the_client_sends_no_more(
    worker: FakeWorker, conn: ClientConnection, client: socket.socket
) -> None:
    client.sendall(GET * 2)
    worker.turn()
    client.shutdown(socket.SHUT_WR)
    conn.half_closed = True
    conn.send_answer(LONG, keep_alive=True)

    received = b""
    while len(received) < len(LONG):
        worker.turn()
        received += client.recv(1_000_000)
    worker.turn()

    assert len(worker.submitted) == 2
    assert conn.state is State.BUSY
