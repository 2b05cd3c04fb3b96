"""Rows that are over are removed, by one worker at a time, also if nobody logs in."""

import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth import housekeeping
from auth.housekeeping import BATCH_ROWS, LOCK
from auth.services import Auth
from config import Settings
from db import Cursor, Database
from runtime import clock
from tests.support import SECRET_KEY, service
from tests.support.actor import Actor
from tests.support.database import MakeDatabase, Sql, held_open, run_sql
from tests.support.expired_sessions import ADD, COUNT
from tests.support.second_factors import enrol, set_up, ticket_of


@pytest.fixture
def auth(app: Flask) -> Auth:
    auth: Auth = app.extensions["auth"]
    return auth


def messages(log_lines: list[dict[str, Any]]) -> list[str]:
    return [line["message"] for line in log_lines if line["logger"] == "auth"]


def test_run_removes_all_expired_sessions(
    ada: Actor, auth: Auth, sql: Sql, log_lines: list[dict[str, Any]]
) -> None:
    sql(ADD, 2 * BATCH_ROWS + 1)

    housekeeping.run(auth.database)

    assert sql(COUNT) == [(0,)]
    assert ada.me().status_code == 200
    assert messages(log_lines) == [f"rows_purged count={2 * BATCH_ROWS + 1}"]


def test_run_removes_expired_setups_and_tickets_alone(
    ada: Actor, auth: Auth, client: FlaskClient, sql: Sql, log_lines: list[dict[str, Any]]
) -> None:
    bob, carol = (Actor(client, name).register() for name in ("bob", "carol"))
    enrol(ada)
    set_up(bob)
    set_up(carol)
    tickets = [ticket_of(ada) for _ in range(2)]
    old = "now() - interval '1 s'"
    sql(f"UPDATE auth_second_factors SET setup_expires_at = {old} WHERE user_id <> {carol.id}")
    sql("UPDATE auth_tickets SET expires_at = " + old + " WHERE token_hash = sha256(%s)", tickets[0].encode())
    sql("DELETE FROM auth_throttle")
    log_lines.clear()

    housekeeping.run(auth.database)

    assert messages(log_lines) == ["rows_purged count=2"]
    assert sql("SELECT user_id FROM auth_second_factors ORDER BY user_id") == [(ada.id,), (carol.id,)]
    assert sql("SELECT token_hash = sha256(%s) FROM auth_tickets", tickets[1].encode()) == [(True,)]
    assert ada.me().get_json()["two_factor"] is True


def test_batch_is_never_larger_than_asked_for(make_database: MakeDatabase) -> None:
    url = make_database()
    database = Database(url)
    database.apply_schema()
    run_sql(url, "INSERT INTO users (username, email, password) VALUES ('ada', 'ada@example.com', '-')")
    run_sql(url, ADD, 1)
    run_sql(url, "ANALYZE auth_sessions")  # PostgreSQL then plans for a table of one row
    run_sql(url, ADD.replace("'h'", "'i'"), 30)

    removed = database.write(housekeeping.purge, now=clock.now(), at_most=20)

    assert removed == 20
    assert run_sql(url, COUNT) == [(11,)]


def test_run_without_work_is_silent(ada: Actor, auth: Auth, log_lines: list[dict[str, Any]]) -> None:
    housekeeping.run(auth.database)

    assert messages(log_lines) == []


def test_run_beside_another_worker_leaves_the_work_to_it(
    ada: Actor, auth: Auth, settings: Settings, sql: Sql
) -> None:
    sql(ADD, 1)

    with held_open(settings.db_url, f"SELECT pg_advisory_xact_lock({LOCK})"):
        housekeeping.run(auth.database)
        beside = sql(COUNT)
    deadline = time.monotonic() + 5
    while sql(COUNT) != [(0,)]:  # PostgreSQL unlocks a moment after the connection is closed
        assert time.monotonic() < deadline
        housekeeping.run(auth.database)

    assert beside == [(1,)]


def test_run_skips_a_session_that_is_locked(ada: Actor, auth: Auth, settings: Settings, sql: Sql) -> None:
    sql(ADD, 2)

    with held_open(
        settings.db_url, "SELECT FROM auth_sessions WHERE user_agent = 'expired' LIMIT 1 FOR UPDATE"
    ):
        housekeeping.run(auth.database)
        beside = sql(COUNT)

    assert beside == [(1,)]


def test_run_without_a_database_is_one_log_line(log_lines: list[dict[str, Any]]) -> None:
    housekeeping.run(Database("postgresql://127.0.0.1:1/none"))

    [message] = messages(log_lines)
    assert message.startswith("rows_not_purged: cannot connect: ")


def test_run_that_fails_is_one_log_line(
    auth: Auth, monkeypatch: pytest.MonkeyPatch, log_lines: list[dict[str, Any]]
) -> None:
    def fail(_cur: Cursor, **_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(housekeeping, "PURGES", (fail,))

    housekeeping.run(auth.database)

    assert messages(log_lines) == ["housekeeping_failed"]


@pytest.mark.slow
def test_worker_removes_expired_sessions_without_any_request(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database()
    Database(url).apply_schema()
    run_sql(url, "INSERT INTO users (username, email, password) VALUES ('ada', 'ada@example.com', '-')")
    run_sql(url, ADD, BATCH_ROWS + 1)
    sooner = "sed -i 's/^FIRST_SECONDS = [0-9.]*/FIRST_SECONDS = 0.2/' auth/housekeeping.py"

    with service.running(tmp_path / "log", before=sooner, DB_URL=url, SECRET_KEY=SECRET_KEY):
        deadline = time.monotonic() + 20
        while run_sql(url, COUNT) != [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
