"""The threads of a worker: answers, the failures of an application, and a system without free threads."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest

from auth import errors
from runtime import wsgi
from runtime.answering import AnsweringThreads
from runtime.bulkhead import Full
from runtime.headers import HEADERS_OF_OTHERS
from runtime.request_buffer import Request


class FakeConnection:
    """Keeps the answers that it gets."""

    def __init__(self) -> None:
        self.client = self.server = ("127.0.0.1", 1)
        self.answers: list[bytes] = []

    def send_answer(self, answer: bytes, *, keep_alive: bool) -> None:
        self.answers.append(answer)
        self.keep_alive = keep_alive

    def close(self) -> None:
        self.answers.append(b"closed")


def greet(_environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def fail(_environ: dict[str, Any], _start: object) -> Iterable[bytes]:
    raise KeyError("hunter2")


def threads_for(application: object, *, max_waiting: int = 4) -> Any:
    worker: Any = SimpleNamespace(wsgi=application, alive=True, log=logging.getLogger("worker"))
    worker.call_in_main_loop = lambda _conn, step: step()
    return AnsweringThreads(worker, max_threads=1, max_waiting=max_waiting)


def answer_of(threads: Any, conn: Any, request: Request) -> bytes:
    threads.submit(conn, request)
    deadline = time.monotonic() + 5
    while not conn.answers:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return bytes(conn.answers[0])


def request(**fields: Any) -> Request:
    return Request(method="GET", target=b"/", version="1.1", keep_alive=True, **fields)


def test_answer_has_its_length_and_is_counted_until_it_is_out() -> None:
    threads = threads_for(greet)

    answer = answer_of(threads, FakeConnection(), request(body=bytearray(b"x" * 100)))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"Content-Length: 5\r\n\r\nhello")
    deadline = time.monotonic() + 5
    while threads.held_bytes():
        assert time.monotonic() < deadline


@pytest.mark.parametrize("target", [b"/", b"http://[/", b"*"])
def test_application_that_fails_is_500_and_the_end_of_the_connection(
    target: bytes, log_lines: list[dict[str, Any]]
) -> None:
    conn = FakeConnection()
    failing = request()
    failing.target = target

    answer = answer_of(threads_for(fail), conn, failing)

    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert not conn.keep_alive
    assert (log_lines[-1]["message"], log_lines[-1]["exception"]) == ("application_failed", "KeyError")
    assert "hunter2" not in str(log_lines)


def test_system_that_allows_no_more_threads_has_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[dict[str, Any]]
) -> None:
    threads = threads_for(greet)
    assert answer_of(threads, FakeConnection(), request())

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads._max_threads = 2
    threads._requests += 1  # as if the first were busy, so that a second is wanted

    assert answer_of(threads, FakeConnection(), request()).startswith(b"HTTP/1.1 200 ")
    assert log_lines[-1]["message"] == "thread_not_started: can't start new thread"


def test_system_that_allows_no_thread_at_all_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads = threads_for(greet)

    for _ in range(2):
        with pytest.raises(Full):
            threads.submit(FakeConnection(), request(body=bytearray(10)))

    assert threads.held_bytes() == 0


def test_more_requests_than_may_wait_are_refused() -> None:
    proceed = threading.Event()

    def wait(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        proceed.wait(10)
        return greet(environ, start)

    threads, conns = threads_for(wait, max_waiting=2), [FakeConnection() for _ in range(4)]
    for conn in conns[:3]:
        threads.submit(conn, request(body=bytearray(10)))

    with pytest.raises(Full):
        threads.submit(conns[3], request(body=bytearray(10)))
    assert threads.held_bytes() == 30

    proceed.set()
    deadline = time.monotonic() + 5
    while threads.held_bytes():
        assert time.monotonic() < deadline
    assert [len(conn.answers) for conn in conns] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("status", "refusal"), [*wsgi.REFUSALS.items(), (HTTPStatus.BAD_REQUEST, wsgi.BAD_REQUEST)]
)
def test_refusal_has_the_words_of_the_application(status: HTTPStatus, refusal: tuple[str, str]) -> None:
    code, sentence = refusal

    failure = errors.REGISTRY[code]

    assert (failure.status, failure.sentence) == (status, sentence)


@pytest.mark.parametrize("status", [*wsgi.REFUSALS, HTTPStatus.BAD_REQUEST])
def test_refusal_has_the_fixed_headers_of_the_application(status: HTTPStatus) -> None:
    lines = wsgi.refusal(status).partition(b"\r\n\r\n")[0].decode().split("\r\n")

    assert set(lines) >= {f"{name}: {value}" for name, value in HEADERS_OF_OTHERS}
    assert len(lines) == len({line.partition(":")[0] for line in lines})
