"""What a process does beside answering requests is started once, and its failures are logged."""

import threading
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


def test_another_wsgi_application_has_nothing_to_start() -> None:
    background.start_all(lambda environ, start_response: [])
