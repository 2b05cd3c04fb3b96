"""GET /health, which asks the database, and GET /health/live, which asks nobody."""

import logging
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from flask import Flask
from psycopg2.extensions import cursor

from auth import responses, users
from db import Database, SchemaError, is_writable
from pool import ConnectionLost, DatabaseUnavailable, PoolFull

log = logging.getLogger("health")


@dataclass(frozen=True)
class Problem:
    """What keeps the service from serving.

    sentence: for anybody. cause: for the log. connected: whether PostgreSQL answered.
    """

    sentence: str
    cause: str
    connected: bool


def check(database: Database, *, last: Problem | None = None) -> Problem | None:
    """Return what keeps `database` from serving, None when nothing does.

    last: what the last check found, which is new enough where enough others are checking.
    """
    answered = False

    def ask(cur: cursor) -> bool:
        nonlocal answered
        writable = is_writable(cur)
        answered = True
        users.require_readable(cur)
        return writable

    try:
        writable = database.ping(ask)
    except PoolFull:
        return last
    except DatabaseUnavailable as exc:
        return _problem(exc, connected=answered or _is_answer(exc))
    return None if writable else Problem("The database is read-only.", "the database is read-only", True)


def _is_answer(exc: DatabaseUnavailable) -> bool:
    """Return whether PostgreSQL itself refused, with a connection that it kept."""
    return bool(getattr(exc.__cause__, "pgcode", None)) and not isinstance(exc, ConnectionLost)


def _problem(exc: DatabaseUnavailable, *, connected: bool) -> Problem:
    if isinstance(exc, SchemaError):
        return Problem(exc.sentence, str(exc), connected)
    if connected:
        return Problem("The database does not let the service read its users.", str(exc), connected)
    return Problem("The database cannot be reached.", str(exc), connected)


def init_app(app: Flask, database: Database) -> None:
    """Add the health checks of `database` to `app`."""
    last: Problem | None = Problem("The database was not checked yet.", "not checked yet", False)

    @app.get("/health")
    def health() -> tuple[dict[str, Any], int]:
        nonlocal last
        problem = last = check(database, last=last)
        answer = {
            "status": "unhealthy" if problem else "healthy",
            "service": "user-service",
            "database": "connected" if problem is None or problem.connected else "disconnected",
            "timestamp": responses.utc(datetime.now(timezone.utc)),
        }
        if problem is None:
            return answer, 200
        log.error("unhealthy: %s", problem.cause)
        return answer | {"error": problem.sentence, "code": "database_unavailable"}, 503

    @app.get("/health/live")
    def live() -> dict[str, str]:
        return {"status": "alive"}
