"""The threads of a worker that run the application. Each answers one whole request after another."""

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
    """At most max_threads threads, each started when it is first needed.

    At most max_waiting further requests wait for a thread.
    """

    def __init__(self, worker: "BufferingWorker", *, max_threads: int, max_waiting: int) -> None:
        self._worker = worker
        self._max_threads = max_threads
        self._max_requests = max_threads + max_waiting
        self._jobs: SimpleQueue[tuple[ClientConnection, Request]] = SimpleQueue()
        self._answered_bytes: deque[int] = deque()  # one entry for each request that a thread has answered
        self._threads = self._requests = self._held_bytes = 0

    def submit(self, conn: ClientConnection, request: Request) -> None:
        """Queue a request for a thread; the main loop calls this. Raises Full."""
        self._count_answered()
        if self._requests >= self._max_requests:
            raise Full
        if self._threads < min(self._requests + 1, self._max_threads):
            self._start_thread()
        self._held_bytes += len(request.body)
        self._requests += 1
        self._jobs.put((conn, request))

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._answer_requests, daemon=True).start()
        except RuntimeError as exc:  # the system allows no more threads
            self._worker.log.warning("thread_not_started: %s", exc)
            if not self._threads:
                raise Full from exc
        else:
            self._threads += 1

    def held_bytes(self) -> int:
        """Return the size of all bodies whose requests are not answered yet."""
        self._count_answered()
        return self._held_bytes

    def _count_answered(self) -> None:
        for _ in range(len(self._answered_bytes)):
            self._held_bytes -= self._answered_bytes.popleft()
            self._requests -= 1

    def _answer_requests(self) -> None:
        while True:
            conn, request = self._jobs.get()
            try:
                self._answer(conn, request)
            except OSError:  # the client is gone
                self._worker.call_in_main_loop(conn, conn.close)
            except Exception:
                self._worker.log.exception("answer_failed")
                self._worker.call_in_main_loop(conn, conn.close)
            self._answered_bytes.append(len(request.body))
            del conn, request  # otherwise both stay in memory until this thread gets another request

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
            conn.send_answer(whole, keep_alive=keep_alive)
        finally:
            self._close(body)

    def _close(self, body: Iterable[bytes]) -> None:
        """Let the application do the work that it postponed until the client has the answer (PEP 3333)."""
        try:
            if close := getattr(body, "close", None):
                close()
        except Exception:
            self._worker.log.exception("work_after_answer_failed")
