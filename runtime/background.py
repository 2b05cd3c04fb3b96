"""What a process does beside answering requests.

A feature adds a function that starts a thread. A server calls all of them, once in each process that answers
requests.
"""

import logging
from collections.abc import Callable
from typing import Any

_KEY = "background"  # in Flask's extensions

log = logging.getLogger("background")


def add(app: Any, start: Callable[[], None]) -> None:
    """Have each server of the Flask app call `start`."""
    app.extensions.setdefault(_KEY, []).append(start)


def start_all(app: Any) -> None:
    """Start everything that was added to `app`. The process answers requests, whatever fails to start.

    app: a Flask app, or another WSGI application, to which nothing was added.
    """
    for start in getattr(app, "extensions", {}).get(_KEY, ()):
        start_one(start)


def start_one(start: Callable[[], None]) -> None:
    """Call `start`. A failure is logged: the system may allow no more threads."""
    try:
        start()
    except Exception:
        log.exception("background_not_started")
