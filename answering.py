"""The threads of a worker, which run the application; each answers one whole request after another."""

import threading
from collections import deque
from collections.abc import Iterable
from http import HTTPStatus
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import wsgi
from client_connection import Connection
from incoming import Request

if TYPE_CHECKING:
    from worker import BufferingWorker


class AnsweringThreads:
    """Up to as many threads as gunicorn's `threads`, started when they are first needed."""

    def __init__(self, worker: "BufferingWorker") -> None:
        self._worker = worker
        self._jobs: SimpleQueue[tuple[Connection, Request]] = SimpleQueue()
        self._answered: deque[int] = deque()  # the bytes of requests that a thread is done with
        self._threads = self._running = self._held_bytes = 0

    def submit(self, conn: Connection, request: Request) -> None:
        """Have a request answered; the main loop calls this."""
        self._held_bytes += len(request.body)
        self._running += 1
        self._count_answered()
        if self._threads < min(self._running, self._worker.cfg.threads):
            self._threads += 1
            threading.Thread(target=self._answer_requests, daemon=True).start()
        self._jobs.put((conn, request))

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
                self._worker.call(conn, conn.close)
            except Exception:
                self._worker.log.exception("answer_failed")
                self._worker.call(conn, conn.close)
            self._answered.append(len(request.body))
            del conn, request  # which would be kept until the next comes

    def _answer(self, conn: Connection, request: Request) -> None:
        keep_alive = request.keep_alive and self._worker.alive and not conn.half_closed
        answer = wsgi.Answer()
        body: Iterable[bytes] = ()
        application: Any = self._worker.wsgi
        environ = wsgi.environ(request, client=conn.client, server=conn.server)
        try:
            body = application(environ, answer.start)
            whole = answer.to_bytes(body, method=request.method, keep_alive=keep_alive)
        except Exception:
            self._worker.log.exception("application_failed")
            whole, keep_alive = wsgi.refusal(HTTPStatus.INTERNAL_SERVER_ERROR), False
        try:
            conn.answer(whole, keep_alive=keep_alive)
        finally:
            if isinstance(body, _Closable):
                body.close()


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> None: ...
