"""One client's connection: it reads requests, has them answered one after another, and closes.

Everything here runs in the worker's main loop, except `send_answer`, which the answering thread calls.
"""

import socket
import time
from enum import Enum
from http import HTTPStatus
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any

from runtime import addresses, wsgi
from runtime.bulkhead import Full
from runtime.request_buffer import Request, RequestBuffer

if TYPE_CHECKING:
    from runtime.worker import BufferingWorker

READ_BYTES = 16 * 1024
MAX_LINGER_BYTES = 16 * 1024 * 1024  # which a refused client may still send; they are read and ignored
STOP_SECONDS = 2.0  # for the first byte of a request, when the worker stops


class State(Enum):
    """What a connection waits for."""

    NEW = "the first request"
    IDLE = "the next request"
    READING = "the rest of a request"
    BUSY = "a thread, which makes the answer"
    SENDING = "the client to take its answer"
    LINGERING = "the client to close; if we close first, it may lose the answer (RFC 9112 section 9.6)"
    CLOSED = "nothing"


ACCEPTS_REQUEST = (State.NEW, State.IDLE, State.READING)
# Slowloris attack: no byte of a client renews these. IDLE lasts KEEPALIVE_SECONDS; a thread ends BUSY.
MAX_SECONDS = {State.NEW: 10.0, State.READING: 10.0, State.SENDING: 10.0, State.LINGERING: 2.0}


class ClientConnection:
    """A connection that the worker has accepted.

    client, server: (host, port), or ("", 0) of a Unix socket. since: the monotonic time at which the
    connection entered its state. half_closed: whether the client sends nothing more.
    """

    def __init__(self, worker: "BufferingWorker", sock: socket.socket, client: Any, server: Any) -> None:
        self.client, self.server = _host_and_port(client), _host_and_port(server)
        self.since = time.monotonic()
        self.state = State.NEW
        self.half_closed = False
        self.counted_bytes = 0  # of an incomplete request; the worker counts them
        self._worker = worker
        self._sock = sock
        self._buffer = RequestBuffer()
        self._unsent = b""
        self._keep_alive = True
        self._events = 0
        self._ignored_bytes = 0
        sock.setblocking(False)
        self._watch(EVENT_READ)

    def is_overdue(self, now: float) -> bool:
        """Return whether the connection has waited too long and must close."""
        waits_for_first_byte = self.state in (State.NEW, State.IDLE)
        if waits_for_first_byte and not self._worker.alive:
            return now - self.since >= STOP_SECONDS
        return (
            now - self.since >= MAX_SECONDS.get(self.state, self._worker.cfg.keepalive)
            and self.can_be_closed()
        )

    def can_be_closed(self) -> bool:
        """Return whether no thread works for the client now."""
        return self.state is not State.BUSY

    def on_event(self) -> None:
        """Read from the socket, or write the rest of an answer: the main loop calls this when it is ready."""
        if self.state is State.SENDING:
            self._send_rest()
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # the client has reset the connection
            data = b""
        if not data:
            self.stop_reading()
        elif self.state is State.LINGERING:
            self._ignore(data)
        else:
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        self._buffer.feed(data)
        self._worker.count_incomplete(self, self._buffer.incomplete_bytes())
        if self.state is State.BUSY:
            # Until the answer is out: a client must neither fill our memory nor keep the main loop busy.
            self._watch(0)
        self.handle_next()  # a thread may have sent the answer just now

    def _ignore(self, data: bytes) -> None:
        self._ignored_bytes += len(data)
        if self._ignored_bytes > MAX_LINGER_BYTES:
            self.close()

    def stop_reading(self) -> None:
        """Read nothing more from the client; close now, or when the thread has answered."""
        self.half_closed = True
        if self.can_be_closed():
            self.close()
        else:
            self._watch(0)

    def handle_next(self) -> None:
        """Have the next complete request answered, unless one is being answered."""
        if self.state not in ACCEPTS_REQUEST:
            return
        buffer = self._buffer
        request = buffer.requests.popleft() if buffer.requests else None
        has_enough = request and not buffer.is_empty()
        self._watch(0 if self.half_closed or has_enough else EVENT_READ)
        if request:
            self._submit(request)
        elif buffer.refusal:
            self._refuse(buffer.refusal)
        elif self.half_closed:
            self.close()
        elif buffer.incomplete_bytes():
            self._wait_for_rest()

    def _submit(self, request: Request) -> None:
        self._enter(State.BUSY)
        try:
            self._worker.submit(self, request)
        except Exception as exc:
            self._enter(State.READING)  # no thread works for the client: the connection may close
            if not isinstance(exc, Full):
                raise
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def _wait_for_rest(self) -> None:
        if self.state is not State.READING:
            self._enter(State.READING)
        if self._worker.is_buffer_full():
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        elif self._buffer.wants_continue:
            self._buffer.wants_continue = False
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, status: HTTPStatus) -> None:
        self._worker.log.warning(
            "request_refused status=%d remote_addr=%s", status, addresses.of_client(self.client[0])
        )
        self._worker.count_incomplete(self, 0)
        answer = wsgi.refusal(status)
        self._finish(answer[self._send(answer) :], keep_alive=False)

    def send_answer(self, answer: bytes, *, keep_alive: bool) -> None:
        """Send an answer; the thread that made it calls this.

        Usually the main loop has nothing to do then: it has watched the socket while the thread worked.
        """
        sent = self._send(answer)
        if sent < len(answer) or not keep_alive:
            self._worker.call_in_main_loop(self, lambda: self._finish(answer[sent:], keep_alive=keep_alive))
            return
        self._enter(State.IDLE)
        # Race: look at these after entering IDLE. Bytes that the main loop receives later meet an IDLE
        # connection, and are handled there.
        if self.half_closed or not self._events:
            self._worker.call_in_main_loop(self, self.handle_next)

    def _send(self, data: bytes) -> int:
        """Send what fits into the socket's buffer; return the number of bytes."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def _finish(self, unsent: bytes, *, keep_alive: bool) -> None:
        if self.state is State.CLOSED:
            return
        self._unsent, self._keep_alive = unsent, keep_alive
        # First: no thread works for the client any more, so an error below may close the connection.
        self._enter(State.SENDING if unsent else State.IDLE if keep_alive else State.LINGERING)
        if unsent:
            self._watch(EVENT_WRITE)
        elif keep_alive:
            self.handle_next()
        elif self.half_closed:
            self.close()
        else:
            self._watch(EVENT_READ)
            self._sock.shutdown(socket.SHUT_WR)

    def _send_rest(self) -> None:
        self._unsent = self._unsent[self._send(self._unsent) :]
        if not self._unsent:
            self._finish(b"", keep_alive=self._keep_alive)

    def _watch(self, events: int) -> None:
        """Have the main loop wait for `events` of the socket; 0 stands for none."""
        poller = self._worker.poller
        if events == self._events:
            return
        if not events:
            poller.unregister(self._sock)
        elif self._events:
            poller.modify(self._sock, events, self)
        else:
            poller.register(self._sock, events, self)
        self._events = events

    def _enter(self, state: State) -> None:
        self.since = time.monotonic()
        self.state = state

    def close(self) -> None:
        """Close at once. A second call does nothing."""
        if self in self._worker.connections:
            self._worker.connections.remove(self)
            self._worker.count_incomplete(self, 0)
            self._watch(0)
            self._sock.close()
            self.state = State.CLOSED


def _host_and_port(address: Any) -> tuple[str, int]:
    """Return the first two parts of a socket's address, or ("", 0) of a Unix socket."""
    return address[:2] if isinstance(address, tuple) else ("", 0)
