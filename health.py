"""GET /health, which asks the database, and GET /health/live, which asks nobody."""

import logging
from datetime import datetime, timezone
from typing import Any

from flask import Flask

from auth import errors, responses, users
from db import Database
from pool import DatabaseUnavailable, PoolFull

log = logging.getLogger("health")


class Health:
    """What the last check of a database said, for those who come while enough others are checking."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last = "not checked yet"

    def problem(self) -> str:
        """Return what keeps the database from serving, "" when nothing does."""
        try:
            writable = self._database.ping(users.is_writable)
        except PoolFull:
            return self._last
        except DatabaseUnavailable as exc:
            self._last = str(exc)
        else:
            self._last = "" if writable else "the database is read-only"
        return self._last


def init_app(app: Flask, database: Database) -> None:
    """Add the health checks of `database` to `app`."""
    state = Health(database)

    @app.get("/health")
    def health() -> tuple[dict[str, Any], int]:
        problem = state.problem()
        answer = {
            "status": "unhealthy" if problem else "healthy",
            "service": "user-service",
            "database": "disconnected" if problem else "connected",
            "timestamp": responses.utc(datetime.now(timezone.utc)),
        }
        if not problem:
            return answer, 200
        log.error("unhealthy: %s", problem)
        return answer | errors.body("database_unavailable"), 503

    @app.get("/health/live")
    def live() -> dict[str, str]:
        return {"status": "alive"}
