"""The threads of a worker, which run the application; each answers one whole request after another."""

import threading
from collections import deque
from collections.abc import Iterable
from http import HTTPStatus
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from runtime import wsgi
from runtime.bulkhead import Full
from runtime.client_connection import ClientConnection
from runtime.request_buffer import Request

if TYPE_CHECKING:
    from runtime.worker import BufferingWorker


class AnsweringThreads:
    """Up to `most` threads, started when they are first needed; up to `waiting` requests wait for one."""

    def __init__(self, worker: "BufferingWorker", *, most: int, waiting: int) -> None:
        self._worker = worker
        self._most = most
        self._waiting = waiting
        self._jobs: SimpleQueue[tuple[ClientConnection, Request]] = SimpleQueue()
        self._answered: deque[int] = deque()  # the bytes of requests that a thread is done with
        self._threads = self._running = self._held_bytes = 0

    def submit(self, conn: ClientConnection, request: Request) -> None:
        """Have a request answered; the main loop calls this. Raises Full."""
        self._count_answered()
        if self._running >= self._most + self._waiting:
            raise Full
        if self._threads < min(self._running + 1, self._most):
            self._start_thread()
        self._held_bytes += len(request.body)
        self._running += 1
        self._jobs.put((conn, request))

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._answer_requests, daemon=True).start()
        except RuntimeError as exc:  # the system allows no more
            self._worker.log.warning("thread_not_started: %s", exc)
            if not self._threads:
                raise Full from exc
        else:
            self._threads += 1

    def held_bytes(self) -> int:
        """Return how many bytes of bodies are not answered yet."""
        self._count_answered()
        return self._held_bytes

    def _count_answered(self) -> None:
        for _ in range(len(self._answered)):
            self._held_bytes -= self._answered.popleft()
            self._running -= 1

    def _answer_requests(self) -> None:
        while True:
            conn, request = self._jobs.get()
            try:
                self._answer(conn, request)
            except OSError:  # the client is gone
                self._worker.in_main_loop(conn, conn.close)
            except Exception:
                self._worker.log.exception("answer_failed")
                self._worker.in_main_loop(conn, conn.close)
            self._answered.append(len(request.body))
            del conn, request  # else this thread keeps the request until it gets another

    def _answer(self, conn: ClientConnection, request: Request) -> None:
        keep_alive = request.keep_alive and self._worker.alive
        answer = wsgi.Answer()
        body: Iterable[bytes] = ()
        application: Any = self._worker.wsgi
        try:
            environ = wsgi.environ(request, client=conn.client, server=conn.server)
            body = application(environ, answer.start)
            whole = answer.to_bytes(body, method=request.method, keep_alive=keep_alive)
        except Exception:
            self._worker.log.exception("application_failed")
            whole, keep_alive = wsgi.refusal(HTTPStatus.INTERNAL_SERVER_ERROR), False
        try:
            conn.answer(whole, keep_alive=keep_alive)
        finally:
            self._close(body)

    def _close(self, body: Iterable[bytes]) -> None:
        """Let the application do what it has put off until the answer is out; the client has gone on."""
        try:
            if close := getattr(body, "close", None):
                close()
        except Exception:
            self._worker.log.exception("work_after_answer_failed")
