"""What a process does beside answering requests.

A feature adds a function that starts a thread, and one that stops it if the thread has something to finish. A
server calls all of them, once in each process that answers requests.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_KEY = "background"  # in Flask's extensions

log = logging.getLogger("background")


@dataclass(frozen=True)
class _Work:
    start: Callable[[], None]
    stop: Callable[[float], None] | None


def add(app: Any, start: Callable[[], None], stop: Callable[[float], None] | None = None) -> None:
    """Have each server of the Flask app call `start`, and `stop` before its process ends.

    stop: gets the seconds that it may take.
    """
    app.extensions.setdefault(_KEY, []).append(_Work(start, stop))


def start_all(app: Any) -> None:
    """Start everything that was added to `app`. The process answers requests, whatever fails to start.

    app: a Flask app, or another WSGI application, to which nothing was added.
    """
    for work in _added_to(app):
        start_one(work.start)


def start_one(start: Callable[[], None]) -> None:
    """Call `start`. A failure is logged: the system may allow no more threads."""
    try:
        start()
    except Exception:
        log.exception("background_not_started")


def stop_all(app: Any, *, seconds: float) -> None:
    """Stop what was added to `app` with a way to stop it. All together take at most so many seconds.

    A failure is logged. app: as for start_all; None in a process that has loaded no application.
    """
    deadline = time.monotonic() + seconds
    for work in _added_to(app):
        if work.stop:
            _stop_one(work.stop, max(0.0, deadline - time.monotonic()))


def _stop_one(stop: Callable[[float], None], seconds: float) -> None:
    try:
        stop(seconds)
    except Exception:
        log.exception("background_not_stopped")


def _added_to(app: Any) -> list[_Work]:
    added: list[_Work] = getattr(app, "extensions", {}).get(_KEY, [])
    return added
