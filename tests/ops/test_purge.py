"""`flask --app app purge`, which removes every expired session and every full budget."""

from typing import Any

import pytest
from flask import Flask

from auth import housekeeping, sessions
from auth.housekeeping import BATCH_ROWS
from config import Settings
from db import Cursor, DatabaseUnavailable
from tests.support.actor import Actor
from tests.support.database import Sql, held_open
from tests.support.expired_sessions import ADD, COUNT


def purge(app: Flask) -> tuple[int, str]:
    """Return the exit status and the output of the command."""
    result = app.test_cli_runner().invoke(args=["purge"])
    return result.exit_code, result.output


def test_purge_removes_expired_sessions_and_no_other(app: Flask, ada: Actor, sql: Sql) -> None:
    sql(ADD, 2 * BATCH_ROWS + 1)

    outcome = purge(app)

    assert outcome == (0, f"Rows removed: {2 * BATCH_ROWS + 1}\n")
    assert sql(COUNT) == [(0,)]
    assert ada.me().status_code == 200


def test_purge_removes_full_budgets_and_no_other(app: Flask, sql: Sql) -> None:
    sql(
        "INSERT INTO auth_throttle (key, full_at, failures, locked) VALUES"
        " ('full', now(), 0, FALSE), ('in use', now() + interval '1 hour', 0, FALSE),"
        " ('failed', now(), 1, FALSE), ('forgotten', now() - interval '8 days', 1, FALSE),"
        " ('locked', now() - interval '8 days', 100, TRUE)"
    )

    outcome = purge(app)

    assert outcome == (0, "Rows removed: 2\n")
    assert sql("SELECT key FROM auth_throttle ORDER BY key") == [("failed",), ("in use",), ("locked",)]


def test_purge_waits_for_no_session_that_is_in_use(
    app: Flask, ada: Actor, settings: Settings, sql: Sql
) -> None:
    sql(ADD, 2)
    in_use = "SELECT id FROM auth_sessions WHERE user_agent = 'expired' LIMIT 1 FOR UPDATE"

    with held_open(settings.db_url, in_use):
        outcome = purge(app)

    assert outcome == (0, "Rows removed: 1\n")


def test_purge_that_fails_tells_how_many_it_removed(
    app: Flask, ada: Actor, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql(ADD, BATCH_ROWS + 1)
    calls = []

    def fail_at_the_second_batch(cur: Cursor, **parameters: Any) -> int:
        calls.append(cur)
        if len(calls) > 1:
            raise DatabaseUnavailable("the database went away")
        return sessions.purge(cur, **parameters)

    monkeypatch.setattr(housekeeping, "PURGES", (fail_at_the_second_batch,))

    outcome = purge(app)

    assert outcome == (1, f"Error: the database went away ({BATCH_ROWS} rows were removed)\n")
