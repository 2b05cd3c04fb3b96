"""The service behind a real PgBouncer, in the modes that it supports, with PgBouncer's own defaults."""

import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from psycopg2.extensions import cursor

from app import create_app
from config import Settings
from db import Database, transaction
from runtime.connection import Connection
from runtime.faults import StatementRefused
from tests.support import PASSWORD, ROOT, SECRET_KEY, pgbouncer
from tests.support.database import run_sql
from tests.system.test_faults import Postgres, stopped

OPERATING = (ROOT / "docs/operating.md").read_text()

pytestmark = pytest.mark.skipif(not pgbouncer.PROGRAM, reason="PgBouncer is not installed")
SETTINGS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_isolation",
    "timezone",
)
OURS = ["3s", "0", "10s", "read committed", "UTC"]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server whose own settings are none of those that the service relies on."""
    foreign = ["timezone=Asia/Tokyo", "default_transaction_isolation=serializable", "lock_timeout=1ms"]
    foreign += ["intervalstyle=iso_8601", "statement_timeout=0"]
    options = [word for setting in foreign for word in ("-c", setting)]
    with tempfile.TemporaryDirectory(prefix="pg-") as sockets:  # a socket's path is short
        running = Postgres(tmp_path_factory.mktemp("server"), Path(sockets), *options)
        yield running
        running.stop()


@pytest.fixture(params=["session", "transaction"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(postgres: Postgres, mode: str, tmp_path: Path) -> Iterator[str]:
    with pgbouncer.running(tmp_path, postgres.server.url, mode=mode, server_login_retry="1") as url:
        yield url


def settings_of(cur: cursor) -> list[str]:
    cur.execute("SELECT current_setting(name) FROM unnest(%s) AS name", (list(SETTINGS),))
    return [value for (value,) in cur.fetchall()]


def settings_inside_a_transaction(cur: cursor) -> list[str]:
    with transaction(cur):
        cur.execute("SELECT 1")
        return settings_of(cur)


def test_statements_and_transactions_run_under_our_settings(url: str) -> None:
    with closing(Database(url)) as database:
        for query in (settings_of, settings_inside_a_transaction):
            assert database.read(query) == OURS
            assert database.write(query) == OURS


def test_settings_reach_nobody_else(url: str) -> None:
    with closing(Database(url)) as database:
        assert database.read(settings_of) == OURS

        with closing(psycopg2.connect(url)) as other, other.cursor() as cur:
            assert settings_of(cur) == ["0", "1ms", "0", "serializable", "Asia/Tokyo"]


def test_what_the_role_has_need_not_travel_with_each_statement(
    postgres: Postgres, mode: str, tmp_path: Path
) -> None:
    lines = re.findall(r"^ALTER ROLE user_service SET (\w+)(.+);$", OPERATING, re.MULTILINE)
    travelling = ""

    def ask(cur: cursor) -> None:
        nonlocal travelling
        assert isinstance(cur.connection, Connection)
        travelling = cur.connection.local_settings

    for name, value in lines:
        run_sql(postgres.server.url, f"ALTER ROLE postgres SET {name}{value}")
    try:
        with (
            pgbouncer.running(tmp_path, postgres.server.url, mode=mode) as url,
            closing(Database(url)) as database,
        ):
            database.read(ask)
            assert database.read(settings_of) == OURS
    finally:
        run_sql(postgres.server.url, "ALTER ROLE postgres RESET ALL")

    assert len(lines) == 2
    assert "lock_timeout" in travelling
    assert not [name for name, _ in lines if name in travelling]


def test_transaction_that_fails_leaves_nothing(url: str, postgres: Postgres) -> None:
    run_sql(postgres.server.url, "CREATE TABLE IF NOT EXISTS notes (note text); TRUNCATE notes")

    def fail(cur: cursor) -> None:
        with transaction(cur):
            cur.execute("INSERT INTO notes VALUES ('lost')")
            cur.execute("INSERT INTO notes VALUES (1 / 0)")

    with closing(Database(url)) as database:
        with pytest.raises(StatementRefused):
            database.write(fail)
        assert database.read(settings_of) == OURS
    assert run_sql(postgres.server.url, "SELECT count(*) FROM notes") == [(0,)]


@pytest.fixture
def app(url: str) -> Iterator[Flask]:
    app = create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4, db_pool_size=4))
    yield app
    app.extensions["auth"].database.close()


def call(app: Flask, line: str, status: int, body: object = None, *, token: object = None) -> dict[str, Any]:
    """Make a call, such as "GET /me", and return the body of its answer."""
    method, path = line.split()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = app.test_client().open(f"/api/auth{path}", method=method, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.get_json(silent=True) or {}
    return told


def live_and_leave(app: Flask, name: str) -> None:
    """Make every call of an account's life, from its registration to its end."""
    credential = {"username": name, "password": PASSWORD}
    call(app, "POST /register", 201, credential | {"email": f"{name}@example.com"})
    tokens = call(app, "POST /login", 200, credential)
    tokens = call(app, "POST /refresh", 200, {"refresh_token": tokens["refresh_token"]})
    token = tokens["token"]
    assert call(app, "GET /me", 200, token=token)["username"] == name
    changed = call(app, "PATCH /me", 200, {"firstName": "Ada \\ O'Brien"}, token=token)
    assert changed["firstName"] == "Ada \\ O'Brien"
    assert len(call(app, "GET /sessions", 200, token=token)["sessions"]) == 2
    passwords = {"current_password": PASSWORD, "new_password": f"new {PASSWORD}"}
    token = call(app, "PUT /me/password", 200, passwords, token=token)["token"]
    call(app, "DELETE /sessions", 204, token=token)
    call(app, "DELETE /me", 204, {"password": f"new {PASSWORD}"}, token=token)
    call(app, "GET /me", 401, token=token)


def test_every_call_works_for_many_at_once_and_after_a_restart(app: Flask, postgres: Postgres) -> None:
    def live(number: int) -> None:
        live_and_leave(app, f"user{number}")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(live, range(12)))
        with stopped(postgres, at_once=False):
            pass
        list(threads.map(live, range(12)))


def test_tabs_that_refresh_at_once_get_the_same_successor(app: Flask, mode: str) -> None:
    credential = {"username": mode, "email": f"{mode}@example.com", "password": PASSWORD}
    shown = {"refresh_token": call(app, "POST /register", 201, credential)["refresh_token"]}

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: call(app, "POST /refresh", 200, shown), range(6)))

    assert len({answer["refresh_token"] for answer in answers}) == 1
