"""The gunicorn worker. A thread gets complete requests only, and never waits for a client.

Slowloris attack: gunicorn's gthread gives a connection to a thread at its first byte, so as many slow clients
as there are threads stop the service. This worker does what a buffering proxy does: its main loop reads every
request, and sends the rest of an answer that a client does not read at once.
"""

import errno
import math
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from gunicorn.workers.base import Worker

from runtime.answering import AnsweringThreads
from runtime.client_connection import ClientConnection
from runtime.declarations import ConfigError
from runtime.request_buffer import Request

MAX_BUFFER_BYTES = 32 * 1024 * 1024  # of unanswered requests, on all connections together
# Parsing a large body takes CPU, and Python runs one thread at a time: many such threads would starve the
# main loop. So one thread answers all large requests. Clients of this service need a few hundred bytes.
LARGE_BODY_BYTES = 8 * 1024
MAX_LARGE_WAITING = 32
TURN_SECONDS = 1.0
RELOAD_PAUSE_SECONDS = 5.0


class BufferingWorker(Worker):
    """A main loop, which alone reads sockets, and at most `threads` threads, which run the application.

    made_at and killed_at: when gunicorn makes a worker, and when it kills one that is told to stop; of
    time.monotonic(). others_serve: whether older workers served when this one was made.
    """

    made_at = 0.0
    killed_at = math.inf
    others_serve = False

    def init_process(self) -> None:
        self.poller = DefaultSelector()
        self.connections: set[ClientConnection] = set()
        self._addresses: dict[socket.socket, Any] = {}
        self._is_accepting = False
        self._calls: deque[tuple[ClientConnection, Callable[[], None]]] = deque()
        self._threads = AnsweringThreads(
            self, max_threads=self.cfg.threads, max_waiting=self.cfg.worker_connections
        )
        self._large = AnsweringThreads(self, max_threads=1, max_waiting=MAX_LARGE_WAITING)
        self._incomplete_bytes = 0
        self._next_second = 0.0
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application. If that fails while others serve, this worker ends, and is replaced.

        gunicorn ends the whole service when a worker cannot load the application. This is right at the start,
        and when nobody serves. But somebody may have broken a file later, while other workers serve on.
        """
        try:
            super().load_wsgi()
        except Exception as exc:
            if not self.others_serve:
                raise
            is_told = isinstance(exc, ConfigError)
            self.log.error(
                "worker_not_loaded: others serve, and it is tried again: %s", exc, exc_info=not is_told
            )
            time.sleep(RELOAD_PAUSE_SECONDS)
            sys.exit(1)

    def run(self) -> None:
        """Serve until gunicorn stops this worker, then finish the requests that have begun."""
        self.poller.register(self.PIPE[0], EVENT_READ)  # signals and threads wake the main loop here
        sockets: list[Any] = self.sockets
        self._addresses = {listener.sock: listener.getsockname() for listener in sockets}
        for listener in self._addresses:
            listener.setblocking(False)
        self._set_accepting(True)
        while self.alive:
            self._turn()
        self.killed_at = time.monotonic() + self.cfg.graceful_timeout
        self._stop_listening()
        while self.connections and time.monotonic() < self.killed_at:
            self._turn()

    def _turn(self) -> None:
        for key, _ in self.poller.select(TURN_SECONDS):
            if isinstance(key.data, ClientConnection):
                self._run_step(key.data, key.data.on_event)
            elif key.data:
                self._accept(key.data)
            else:
                with suppress(BlockingIOError):
                    os.read(self.PIPE[0], 4096)
        for _ in range(len(self._calls)):
            self._run_step(*self._calls.popleft())
        if time.monotonic() >= self._next_second:
            self._every_second(time.monotonic())

    def _run_step(self, conn: ClientConnection, step: Callable[[], None]) -> None:
        """Run a step of a connection. An exception ends that connection only."""
        try:
            step()
        except OSError:  # the client is gone
            conn.stop_reading()
        except Exception:
            self.log.exception("connection_failed")
            conn.stop_reading()

    def _every_second(self, now: float) -> None:
        self._next_second = now + TURN_SECONDS
        self.notify()
        if self.ppid != os.getppid():
            self.alive = False
        for conn in list(self.connections):
            if conn.is_overdue(now):
                self._run_step(conn, conn.close)
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
        except OSError:  # the poller cannot watch it
            sock.close()
        if len(self.connections) > self.cfg.worker_connections:
            self._make_room()
        return True

    def _make_room(self) -> None:
        """Close the connection that has waited for its client the longest.

        If threads work for all clients, accept no connection for about a second.
        """
        closable = [conn for conn in self.connections if conn.can_be_closed()]
        if closable:
            min(closable, key=lambda conn: conn.since).close()
        else:
            self._set_accepting(False)

    def _set_accepting(self, is_accepting: bool) -> None:
        if is_accepting == self._is_accepting:
            return
        self._is_accepting = is_accepting
        for listener in self._addresses:
            if is_accepting:
                self.poller.register(listener, EVENT_READ, listener)
            else:
                self.poller.unregister(listener)

    def _stop_listening(self) -> None:
        """Accept the connections that are in the queue already, and refuse further ones.

        gunicorn's own workers listen until they end: a client that connects meanwhile waits in vain and is
        then reset. A proxy whose connection is refused tries another replica, also with a POST.
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
        threads = self._large if len(request.body) > LARGE_BODY_BYTES else self._threads
        threads.submit(conn, request)

    def count_incomplete(self, conn: ClientConnection, incomplete_bytes: int) -> None:
        """Count the bytes that are here of a connection's incomplete request."""
        self._incomplete_bytes += incomplete_bytes - conn.counted_bytes
        conn.counted_bytes = incomplete_bytes

    def is_buffer_full(self) -> bool:
        """Return whether this worker holds more bytes of unanswered requests than it may."""
        held_bytes = self._threads.held_bytes() + self._large.held_bytes()
        return self._incomplete_bytes + held_bytes > MAX_BUFFER_BYTES

    def call_in_main_loop(self, conn: ClientConnection, step: Callable[[], None]) -> None:
        """Have the main loop run a step of a connection; threads call this."""
        self._calls.append((conn, step))
        with suppress(BlockingIOError):  # the pipe is full: the main loop wakes anyway
            os.write(self.PIPE[1], b".")
