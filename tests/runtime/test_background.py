"""What a process does beside answering requests is started and stopped once, and its failures are logged."""

import threading
import time
from typing import Any

import pytest
from flask import Flask

from runtime import background, logs
from runtime.line_writer import write_now


def test_start_all_starts_everything_that_was_added() -> None:
    app, started = Flask(__name__), []
    background.add(app, lambda: started.append("timer"))
    background.add(app, lambda: started.append("sender"))

    background.start_all(app)

    assert started == ["timer", "sender"]


def test_start_that_fails_is_logged_and_keeps_no_other_from_starting(log_lines: list[dict[str, Any]]) -> None:
    def fail() -> None:
        raise RuntimeError("can't start new thread")

    app, started = Flask(__name__), []
    background.add(app, fail)
    background.add(app, lambda: started.append("sender"))

    background.start_all(app)

    assert started == ["sender"]
    assert [(line["message"], line["exception"]) for line in log_lines] == [
        ("background_not_started", "RuntimeError")
    ]


def test_stop_all_stops_what_can_be_stopped_within_the_time_of_all() -> None:
    def stop_slowly(seconds: float) -> None:
        given.append(seconds)
        time.sleep(0.2)

    app, given = Flask(__name__), list[float]()
    background.add(app, lambda: None)
    background.add(app, lambda: None, stop_slowly)
    background.add(app, lambda: None, stop_slowly)
    background.add(app, lambda: None, given.append)

    background.stop_all(app, seconds=0.3)

    assert 0.2 < given[0] <= 0.3
    assert 0 < given[1] <= 0.1
    assert given[2] == 0


def test_stop_that_fails_is_logged_and_keeps_no_other_from_stopping(log_lines: list[dict[str, Any]]) -> None:
    def fail(_seconds: float) -> None:
        raise ZeroDivisionError

    app, stopped = Flask(__name__), list[float]()
    background.add(app, lambda: None, fail)
    background.add(app, lambda: None, stopped.append)

    background.stop_all(app, seconds=1)

    assert len(stopped) == 1
    assert [line["message"] for line in log_lines] == ["background_not_stopped"]


def test_writer_that_cannot_start_leaves_the_lines_to_who_logs_them(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    logs.configure("INFO")
    monkeypatch.setattr(threading.Thread, "start", refuse)

    background.start_one(logs.start_writer)

    assert '"message": "background_not_started"' in capfd.readouterr().out
    assert logs.write is write_now


@pytest.mark.parametrize("app", [lambda environ, start_response: [], None], ids=["another", "none"])
def test_another_wsgi_application_has_nothing_to_start_and_stop(app: Any) -> None:
    background.start_all(app)
    background.stop_all(app, seconds=1)
