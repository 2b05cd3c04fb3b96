"""GET /health, which asks the database, and GET /health/live, which only says that the process answers."""

import logging
import time
from dataclasses import dataclass
from typing import Any

from flask import Flask

from db import (
    PING_SECONDS,
    ConnectionLost,
    Cursor,
    Database,
    DatabaseUnavailable,
    ReadOnly,
    SchemaError,
    require_usable,
    require_writable,
)
from runtime import clock
from runtime.bulkhead import Bulkhead, Full

MAX_WAITERS = 8  # threads that may wait for a check
# Longer than a check may take, and shorter than the 3 s in which /health always answers.
WAIT_SECONDS = PING_SECONDS + 0.5

log = logging.getLogger("health")


@dataclass(frozen=True)
class Problem:
    """Why the service cannot serve.

    sentence: public. cause: for the log. connected: whether PostgreSQL answered.
    """

    sentence: str
    cause: str
    connected: bool


class Health:
    """The health of a database. One check at a time serves every caller that waits for it.

    If MAX_WAITERS callers wait already, further callers get the result of the last check.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = Bulkhead(running=1, waiting=MAX_WAITERS)
        self._checks = 0
        self._last: Problem | None = Problem(
            "The database was not checked yet.", "not checked yet", connected=False
        )

    def problem(self) -> Problem | None:
        """Return why the database cannot serve. Returns None if it can."""
        checks_before = self._checks
        try:
            self._turns.enter(until=time.monotonic() + WAIT_SECONDS)
        except Full:
            return self._last
        try:
            if self._checks == checks_before:
                self._last = self._check()
                self._checks += 1
            return self._last
        finally:
            self._turns.leave()

    def _check(self) -> Problem | None:
        answered = False

        def ask(cur: Cursor) -> None:
            nonlocal answered
            require_writable(cur)
            answered = True
            require_usable(cur)

        try:
            self._database.ping(ask)
        except DatabaseUnavailable as exc:
            return _problem(exc, connected=answered or _is_answer(exc))
        return None


def _is_answer(exc: DatabaseUnavailable) -> bool:
    """Return whether PostgreSQL itself refused the statement and kept the connection."""
    if isinstance(exc, ReadOnly):
        return True
    return bool(getattr(exc.__cause__, "pgcode", None)) and not isinstance(exc, ConnectionLost)


def _problem(exc: DatabaseUnavailable, *, connected: bool) -> Problem:
    if isinstance(exc, SchemaError):
        return Problem(exc.sentence, str(exc), connected=True)
    if isinstance(exc, ReadOnly):
        return Problem("The database is read-only.", str(exc), connected)
    if connected:
        return Problem("The database does not let the service use its tables.", str(exc), connected)
    return Problem("The database cannot be reached.", str(exc), connected)


def init_app(app: Flask, database: Database) -> None:
    """Add the routes that report the health of `database` to `app`."""
    checks = Health(database)

    @app.get("/health")
    def health() -> tuple[dict[str, Any], int]:
        """Tell an orchestrator whether the service can serve: 200, or 503 with the reason, within 3 s."""
        problem = checks.problem()
        answer = {
            "status": "unhealthy" if problem else "healthy",
            "service": "user-service",
            "database": "connected" if problem is None or problem.connected else "disconnected",
            "timestamp": clock.to_iso(clock.now()),
        }
        if problem is None:
            return answer, 200
        log.error("unhealthy: %s", problem.cause)
        return answer | {"error": problem.sentence, "code": "database_unavailable"}, 503

    @app.get("/health/live")
    def live() -> dict[str, str]:
        """Tell an orchestrator that the process answers: always 200, without a look at the database."""
        return {"status": "alive"}
