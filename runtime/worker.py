"""The gunicorn worker: a thread gets a request only when all of it is here, and waits for no client.

gunicorn's gthread hands a connection to a thread at its first byte; as many silent or slow clients as there
are threads then stop everybody. Here the main loop takes in every request, and sends the rest of an answer
that a client does not take at once, as a buffering proxy would.
"""

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from gunicorn.workers.base import Worker

from runtime.answering import AnsweringThreads
from runtime.client_connection import ClientConnection
from runtime.request_buffer import Request

BUFFER_BYTES = 32 * 1024 * 1024  # of requests that are not answered yet, of all connections together
# Reading a large body takes CPU, and Python runs one thread at a time: if many did so, the main loop would
# have its turn once in all of theirs. No client of this service needs more than a few hundred bytes.
LARGE_BYTES = 8 * 1024
LARGE_WAITING = 32
TURN_SECONDS = 1.0


class BufferingWorker(Worker):
    """One main loop, which alone reads sockets, and up to `threads` threads, which run the application."""

    def init_process(self) -> None:
        self.poller = DefaultSelector()
        self.connections: set[ClientConnection] = set()
        self._addresses: dict[socket.socket, Any] = {}
        self._accepts = False
        self._calls: deque[tuple[ClientConnection, Callable[[], None]]] = deque()
        self._threads = AnsweringThreads(self, most=self.cfg.threads, waiting=self.cfg.worker_connections)
        self._large = AnsweringThreads(self, most=1, waiting=LARGE_WAITING)
        self._incomplete_bytes = 0
        self._next_second = 0.0
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop, then for as long as requests are under way."""
        self.poller.register(self.PIPE[0], EVENT_READ)  # where signals and threads wake the main loop
        sockets: list[Any] = self.sockets
        self._addresses = {listener.sock: listener.getsockname() for listener in sockets}
        for listener in self._addresses:
            listener.setblocking(False)
        self._set_accepting(True)
        while self.alive:
            self._turn()
        self._stop_listening()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self.connections and time.monotonic() < deadline:
            self._turn()

    def _turn(self) -> None:
        for key, _ in self.poller.select(TURN_SECONDS):
            if isinstance(key.data, ClientConnection):
                self._guarded(key.data, key.data.on_event)
            elif key.data:
                self._accept(key.data)
            else:
                with suppress(BlockingIOError):
                    os.read(self.PIPE[0], 4096)
        for _ in range(len(self._calls)):
            self._guarded(*self._calls.popleft())
        if time.monotonic() >= self._next_second:
            self._every_second(time.monotonic())

    def _guarded(self, conn: ClientConnection, step: Callable[[], None]) -> None:
        """Let whatever happens to a connection end that connection only."""
        try:
            step()
        except OSError:  # the client is gone
            conn.end()
        except Exception:
            self.log.exception("connection_failed")
            conn.end()

    def _every_second(self, now: float) -> None:
        self._next_second = now + TURN_SECONDS
        self.notify()
        if self.ppid != os.getppid():
            self.alive = False
        for conn in list(self.connections):
            if conn.is_overdue(now):
                self._guarded(conn, conn.close)
        self._set_accepting(self.alive)

    def _accept(self, listener: socket.socket) -> bool:
        """Accept a connection; return whether there was one."""
        try:
            sock, client = listener.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True
        except OSError as exc:
            hint = "; raise the limit of open files (ulimit -n)" * (exc.errno in (errno.EMFILE, errno.ENFILE))
            self.log.warning("accepting_paused: %s%s", exc, hint)
            self._set_accepting(False)
            return False
        try:
            self.connections.add(ClientConnection(self, sock, client, self._addresses[listener]))
        except OSError:  # it cannot be watched
            sock.close()
        if len(self.connections) > self.cfg.worker_connections:
            self._make_room()
        return True

    def _make_room(self) -> None:
        """Close what has waited for its client the longest; accept no more while there is nothing."""
        waiting = [conn for conn in self.connections if conn.can_be_closed()]
        if waiting:
            min(waiting, key=lambda conn: conn.since).close()
        else:
            self._set_accepting(False)

    def _set_accepting(self, accepts: bool) -> None:
        if accepts == self._accepts:
            return
        self._accepts = accepts
        for listener in self._addresses:
            if accepts:
                self.poller.register(listener, EVENT_READ, listener)
            else:
                self.poller.unregister(listener)

    def _stop_listening(self) -> None:
        """Accept who is in the queue already, and refuse everybody else.

        gunicorn listens to the very end. Who connects meanwhile waits for a worker that serves no more, and
        is then reset; a proxy that is refused tries another replica, with a POST as well.
        """
        self._set_accepting(False)
        for listener in self._addresses:
            for _ in range(self.cfg.backlog):
                if not self._accept(listener):
                    break
            listener.close()

    def submit(self, conn: ClientConnection, request: Request) -> None:
        """Have a thread answer a request. Raises Full if too many large ones wait, or no thread starts."""
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        threads = self._large if len(request.body) > LARGE_BYTES else self._threads
        threads.submit(conn, request)

    def count(self, conn: ClientConnection, incomplete_bytes: int) -> None:
        """Count what is here of a request whose rest is not."""
        self._incomplete_bytes += incomplete_bytes - conn.counted_bytes
        conn.counted_bytes = incomplete_bytes

    def has_no_room(self) -> bool:
        """Return whether the requests that are not answered yet fill the buffer of this worker."""
        answering = self._threads.held_bytes() + self._large.held_bytes()
        return self._incomplete_bytes + answering > BUFFER_BYTES

    def in_main_loop(self, conn: ClientConnection, step: Callable[[], None]) -> None:
        """Have the main loop do something for a connection; called by threads."""
        self._calls.append((conn, step))
        with suppress(BlockingIOError):  # the pipe is full, so the main loop will wake anyway
            os.write(self.PIPE[1], b".")
