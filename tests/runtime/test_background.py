"""What a process does beside answering requests is started once, and its failures are logged."""

from typing import Any

from flask import Flask

from runtime import background


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


def test_another_wsgi_application_has_nothing_to_start() -> None:
    background.start_all(lambda environ, start_response: [])
