"""The gunicorn worker: gthread, but a request reaches a thread only when all of it is here.

gthread hands a connection to a thread at its first byte, or before; as many silent or slow clients as
there are threads then stop everybody. Here the worker's main loop collects the bytes of every request,
as a buffering proxy would, so threads never wait for a client.
"""

import socket
import time
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

REQUEST_SECONDS = 10.0  # from the first look at a connection to the last byte of the request
LINGER_SECONDS = 2.0  # for a client to read the last answer and close
MAX_BUFFERED_BYTES = 256 * 1024  # more than any request that is answered; the parser refuses the rest
READ_BYTES = 64 * 1024


class BufferingWorker(ThreadWorker):
    """A ThreadWorker whose connections wait for a whole request, and for their end, in the main loop."""

    def init_process(self) -> None:
        # Both are in order of their deadlines, because each adds the same time to now.
        self._reading: dict[TConn, tuple[float, bytearray]] = {}
        self._lingering: dict[socket.socket, float] = {}
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection whose end does not block the main loop."""
        with suppress(BlockingIOError, ConnectionAbortedError):
            sock, address = listener.accept()
            self.nr_conns += 1
            self.enqueue_req(_Conn(self, sock, address, listener.getsockname()))

    def enqueue_req(self, conn: TConn) -> None:
        """Hand `conn` to a thread if its next request is complete, else wait for the rest."""
        parser: Any = conn.parser
        left_over = parser.unreader.take_buffered() if parser else b""
        self._reading[conn] = (time.monotonic() + REQUEST_SECONDS, bytearray(left_over))
        conn.sock.setblocking(False)
        self.poller.register(conn.sock, EVENT_READ, partial(self._read, conn))
        self._read(conn)

    def murder_pending(self) -> None:
        """Close what has taken too long; at shutdown also what has not begun."""
        super().murder_pending()
        now = time.monotonic()
        for conn, (deadline, received) in list(self._reading.items()):
            if now >= deadline or not (self.alive or received):
                self._give_up(conn)
        for sock, deadline in list(self._lingering.items()):
            if now >= deadline:
                self._end(sock)

    def _read(self, conn: TConn, _sock: object = None) -> None:
        received = self._reading[conn][1]
        try:
            data = conn.sock.recv(READ_BYTES)
        except BlockingIOError:
            data = b""
            if not received:
                return
        except OSError:
            self._give_up(conn)
            return
        else:
            if not data:
                self._give_up(conn)
                return
        received += data
        if is_complete(received):
            self._forget(conn)
            conn.init()
            parser: Any = conn.parser
            parser.unreader.unread(bytes(received))
            super().enqueue_req(conn)

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


def is_complete(received: bytes | bytearray) -> bool:
    """Return whether a thread can answer `received` without waiting for the client.

    That is so for a whole request, and for one that will be refused unread. What is malformed is for
    gunicorn's parser to judge; here it only must not wait for more than it needs.
    """
    head, end, body = bytes(received).partition(b"\r\n\r\n")
    if not end:
        return len(received) > MAX_BUFFERED_BYTES
    headers = head.lower()
    if b"\r\nexpect:" in headers:
        return True  # the client waits for us to speak first
    if b"\r\ntransfer-encoding:" in headers:
        whole = body.endswith(b"\r\n\r\n") and (body.startswith(b"0") or b"\r\n0" in body)
        return whole or len(body) > MAX_BUFFERED_BYTES
    _, found, rest = headers.partition(b"\r\ncontent-length:")
    length = rest.partition(b"\r\n")[0].strip()
    if not found or not length.isdigit():
        return True
    return len(body) >= min(int(length[:18]), MAX_BUFFERED_BYTES)
