"""The gunicorn worker: gthread, but a request reaches a thread only when all of it is here.

gthread hands a connection to a thread at its first byte, or before; as many silent or slow clients as
there are threads then stop everybody. Here the worker's main loop collects the bytes of every request,
as a buffering proxy would, so threads never wait for a client.
"""

import socket
import struct
import time
from contextlib import suppress
from functools import partial
from itertools import takewhile
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from incoming import Incoming

REQUEST_SECONDS = 10.0  # from the first look at a connection to the last byte of the request
LINGER_SECONDS = 2.0  # for a client to read the last answer and close
SEND_SECONDS = 5  # for a client to take a piece of its answer
READ_BYTES = 64 * 1024


class BufferingWorker(ThreadWorker):
    """A ThreadWorker whose connections wait for a whole request, and for their end, in the main loop."""

    def init_process(self) -> None:
        # Both are in order of their deadlines, because each adds the same time to now.
        self._reading: dict[TConn, tuple[float, Incoming]] = {}
        self._lingering: dict[socket.socket, float] = {}
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection whose end does not block the main loop, nor its client a thread for long."""
        with suppress(BlockingIOError, ConnectionAbortedError):
            sock, address = listener.accept()
            self.nr_conns += 1
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", SEND_SECONDS, 0))
            self.enqueue_req(_Conn(self, sock, address, listener.getsockname()))

    def enqueue_req(self, conn: TConn) -> None:
        """Hand `conn` to a thread if its next request is complete, else wait for the rest."""
        self._reading[conn] = (time.monotonic() + REQUEST_SECONDS, Incoming())
        conn.sock.setblocking(False)
        self.poller.register(conn.sock, EVENT_READ, partial(self._read, conn))
        parser: Any = conn.parser
        left_over = parser.unreader.take_buffered() if parser else b""
        if not left_over or not self._take(conn, left_over):
            self._read(conn)

    def murder_pending(self) -> None:
        """Close what has taken too long; at shutdown also what has not begun."""
        super().murder_pending()
        now = time.monotonic()
        # Up to the first that has time left: this runs with every event, beside thousands of slow clients.
        overdue = [conn for conn, _ in takewhile(lambda item: now >= item[1][0], self._reading.items())]
        if not self.alive:
            overdue = [conn for conn, (at, it) in self._reading.items() if now >= at or not it.received]
        for conn in overdue:
            self._give_up(conn)
        for sock, _ in list(takewhile(lambda item: now >= item[1], self._lingering.items())):
            self._end(sock)

    def _read(self, conn: TConn, _sock: object = None) -> None:
        try:
            data = conn.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(conn, data)
        else:
            self._give_up(conn)

    def _take(self, conn: TConn, data: bytes) -> bool:
        """Add what came to the request of `conn`; return whether that went to a thread."""
        incoming = self._reading[conn][1]
        if incoming.add(data):
            self._forget(conn)
            conn.init()
            parser: Any = conn.parser
            parser.unreader.unread(bytes(incoming.received))
            super().enqueue_req(conn)
            return True
        if incoming.wants_continue:
            incoming.wants_continue = False
            with suppress(OSError):
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return False

    def _give_up(self, conn: TConn) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def _forget(self, conn: TConn) -> None:
        del self._reading[conn]
        self.poller.unregister(conn.sock)

    def linger(self, sock: socket.socket) -> None:
        """Close `sock` when the client has read its answer, or LINGER_SECONDS later (RFC 9112, 9.6)."""
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            sock.close()
            return
        sock.setblocking(False)
        self._lingering[sock] = time.monotonic() + LINGER_SECONDS
        self.poller.register(sock, EVENT_READ, self._drain)

    def _drain(self, sock: socket.socket) -> None:
        try:
            ended = not sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._end(sock)

    def _end(self, sock: socket.socket) -> None:
        del self._lingering[sock]
        self.poller.unregister(sock)
        sock.close()


class _Conn(TConn):
    """A connection whose graceful close does not keep the main loop waiting, as gunicorn's own does."""

    def __init__(self, worker: BufferingWorker, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(worker.cfg, sock, client, server)
        self._worker = worker

    def close(self, graceful: bool = False) -> None:
        if graceful and self._worker.alive:
            self._worker.linger(self.sock)
        else:
            super().close(graceful)
