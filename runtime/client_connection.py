"""One client's connection: it takes in requests, has them answered one after another, and ends.

All of this runs in the worker's main loop, but for `answer`, which the thread calls that made the answer.
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
LINGER_BYTES = 16 * 1024 * 1024  # of what a client goes on to send although it was refused
STOP_SECONDS = 2.0  # for the first byte of a request, when the worker stops


class State(Enum):
    """What a connection waits for."""

    NEW = "the first request"
    IDLE = "the next request"
    READING = "the rest of a request"
    BUSY = "a thread, which makes the answer"
    SENDING = "the client to take its answer"
    LINGERING = "the client to close; closing first could cost it the answer (RFC 9112 section 9.6)"
    CLOSED = "nothing"


MAY_GO_ON = (State.NEW, State.IDLE, State.READING)
# Nobody can renew these, whatever they send. IDLE is KEEPALIVE_SECONDS, BUSY ends by itself.
SECONDS = {State.NEW: 10.0, State.READING: 10.0, State.SENDING: 10.0, State.LINGERING: 2.0}


class ClientConnection:
    """A connection that the worker has accepted."""

    def __init__(self, worker: "BufferingWorker", sock: socket.socket, client: Any, server: Any) -> None:
        self.client, self.server = _name(client), _name(server)
        self.since = time.monotonic()
        self.state = State.NEW
        self.half_closed = False
        self.counted_bytes = 0  # by the worker, of a request whose rest is not here
        self._worker = worker
        self._sock = sock
        self._incoming = RequestBuffer()
        self._unsent = b""
        self._keep_alive = True
        self._events = 0
        self._ignored_bytes = 0
        sock.setblocking(False)
        self._watch(EVENT_READ)

    def is_overdue(self, now: float) -> bool:
        """Return whether the connection has waited for as long as it may."""
        waits_for_first_byte = self.state in (State.NEW, State.IDLE)
        if waits_for_first_byte and not self._worker.alive:
            return now - self.since >= STOP_SECONDS
        return (
            now - self.since >= SECONDS.get(self.state, self._worker.cfg.keepalive) and self.can_be_closed()
        )

    def can_be_closed(self) -> bool:
        """Return whether nobody works for the client just now."""
        return self.state is not State.BUSY

    def on_event(self) -> None:
        """Go on: the socket can be read, or written while there is something to send."""
        if self.state is State.SENDING:
            self._send_rest()
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a reset
            data = b""
        if not data:
            self.end()
        elif self.state is State.LINGERING:
            self._ignore(data)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        self._incoming.feed(data)
        self._worker.count(self, self._incoming.incomplete_bytes())
        if self.state is State.BUSY:
            self._watch(0)  # no client has us hold more, nor keeps the main loop from others by a flood
        self.go_on()  # also if the answer has just gone out

    def _ignore(self, data: bytes) -> None:
        self._ignored_bytes += len(data)
        if self._ignored_bytes > LINGER_BYTES:
            self.close()

    def end(self) -> None:
        """Take nothing more from the client; close when no thread makes an answer for it any more."""
        self.half_closed = True
        if self.can_be_closed():
            self.close()
        else:
            self._watch(0)

    def go_on(self) -> None:
        """Have the next complete request answered, unless one is being answered."""
        if self.state not in MAY_GO_ON:
            return
        incoming = self._incoming
        request = incoming.requests.popleft() if incoming.requests else None
        self._watch(0 if self.half_closed or (request and incoming.holds_more()) else EVENT_READ)
        if request:
            self._submit(request)
        elif incoming.refusal:
            self._refuse(incoming.refusal)
        elif self.half_closed:
            self.close()
        elif incoming.incomplete_bytes():
            self._wait_for_rest()

    def _submit(self, request: Request) -> None:
        self._enter(State.BUSY)
        try:
            self._worker.submit(self, request)
        except Exception as exc:
            self._enter(State.READING)  # no thread works for the client, so whatever follows may close
            if not isinstance(exc, Full):
                raise
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def _wait_for_rest(self) -> None:
        if self.state is not State.READING:
            self._enter(State.READING)
        if self._worker.has_no_room():
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        elif self._incoming.wants_continue:
            self._incoming.wants_continue = False
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, status: HTTPStatus) -> None:
        self._worker.log.warning(
            "request_refused status=%d remote_addr=%s", status, addresses.of_client(self.client[0])
        )
        self._worker.count(self, 0)
        answer = wsgi.refusal(status)
        self._finish(answer[self._send(answer) :], keep_alive=False)

    def answer(self, answer: bytes, *, keep_alive: bool) -> None:
        """Send an answer; the thread that made it calls this.

        Usually that is all, and the main loop need not be told: it reads on while a thread works.
        """
        sent = self._send(answer)
        if sent < len(answer) or not keep_alive:
            self._worker.in_main_loop(self, lambda: self._finish(answer[sent:], keep_alive=keep_alive))
            return
        self._enter(State.IDLE)
        # Only now: what the main loop takes in after this look meets a connection that is idle.
        if self.half_closed or not self._events:
            self._worker.in_main_loop(self, self.go_on)

    def _send(self, data: bytes) -> int:
        """Send what fits into the socket's buffer; return how much."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def _finish(self, unsent: bytes, *, keep_alive: bool) -> None:
        if self.state is State.CLOSED:
            return
        self._unsent, self._keep_alive = unsent, keep_alive
        # First: no thread works for the client any more, so whatever fails from here on may close.
        self._enter(State.SENDING if unsent else State.IDLE if keep_alive else State.LINGERING)
        if unsent:
            self._watch(EVENT_WRITE)
        elif keep_alive:
            self.go_on()
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
        """Have the main loop look for `events` of the socket, for none if it is 0."""
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
        """Close at once; also again."""
        if self in self._worker.connections:
            self._worker.connections.remove(self)
            self._worker.count(self, 0)
            self._watch(0)
            self._sock.close()
            self.state = State.CLOSED


def _name(address: Any) -> tuple[str, int]:
    """Return the address of a socket; a Unix socket has none."""
    return address[:2] if isinstance(address, tuple) else ("", 0)
