"""The service behind a real PgBouncer with its default settings, in both pooling modes that it supports."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from flask import Flask

from db import Cursor, Database, StatementRefused, transaction
from runtime.connection import Connection
from tests.support import PASSWORD, ROOT, faulty_postgres, pgbouncer
from tests.support.actor import ME, SESSIONS, Actor
from tests.support.apps import app_on
from tests.support.database import run_sql
from tests.support.faulty_postgres import FaultyPostgres

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
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyPostgres]:
    """A server whose own settings are none of those that the service relies on."""
    foreign = ["timezone=Asia/Tokyo", "default_transaction_isolation=serializable", "lock_timeout=1ms"]
    foreign += ["intervalstyle=iso_8601", "statement_timeout=0"]
    options = [word for setting in foreign for word in ("-c", setting)]
    with faulty_postgres.running(tmp_path_factory.mktemp("server"), *options) as server:
        yield server


@pytest.fixture(params=["session", "transaction"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(postgres: FaultyPostgres, mode: str, tmp_path: Path) -> Iterator[str]:
    with pgbouncer.running(tmp_path, postgres.url, mode=mode, server_login_retry="1") as url:
        yield url


def settings_of(cur: Cursor) -> list[str]:
    cur.execute("SELECT current_setting(name) FROM unnest(%s) AS name", (list(SETTINGS),))
    return [value for (value,) in cur.fetchall()]


def settings_inside_a_transaction(cur: Cursor) -> list[str]:
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
    postgres: FaultyPostgres, mode: str, tmp_path: Path
) -> None:
    lines = re.findall(r"^ALTER ROLE user_service SET (\w+)(.+);$", OPERATING, re.MULTILINE)
    travelling = ""

    def ask(cur: Cursor) -> None:
        nonlocal travelling
        assert isinstance(cur.connection, Connection)
        travelling = cur.connection.local_settings

    for name, value in lines:
        run_sql(postgres.url, f"ALTER ROLE postgres SET {name}{value}")
    try:
        with (
            pgbouncer.running(tmp_path, postgres.url, mode=mode) as url,
            closing(Database(url)) as database,
        ):
            database.read(ask)
            assert database.read(settings_of) == OURS
    finally:
        run_sql(postgres.url, "ALTER ROLE postgres RESET ALL")

    assert len(lines) == 2
    assert "lock_timeout" in travelling
    assert not [name for name, _ in lines if name in travelling]


def test_transaction_that_fails_leaves_nothing(url: str, postgres: FaultyPostgres) -> None:
    run_sql(postgres.url, "CREATE TABLE IF NOT EXISTS notes (note text); TRUNCATE notes")

    def fail(cur: Cursor) -> None:
        with transaction(cur):
            cur.execute("INSERT INTO notes VALUES ('lost')")
            cur.execute("INSERT INTO notes VALUES (1 / 0)")

    with closing(Database(url)) as database:
        with pytest.raises(StatementRefused):
            database.write(fail)
        assert database.read(settings_of) == OURS
    assert run_sql(postgres.url, "SELECT count(*) FROM notes") == [(0,)]


@pytest.fixture
def app(url: str) -> Iterator[Flask]:
    app = app_on(url, db_pool_size=4)
    yield app
    app.extensions["auth"].database.close()


def live_and_leave(app: Flask, name: str) -> None:
    """Register a user, make every call as that user, and delete the user."""
    user = Actor(app.test_client(), name).register().log_in().refresh()
    assert user.me().get_json()["username"] == name
    changed = user.change_profile(firstName="Ada \\ O'Brien")
    assert (changed.status_code, changed.get_json()["firstName"]) == (200, "Ada \\ O'Brien")
    assert len(user.sessions().get_json()["sessions"]) == 2
    password = f"new {PASSWORD}"
    changed = user.change_password(password)
    assert changed.status_code == 200
    token = changed.get_json()["token"]
    assert user.send("DELETE", SESSIONS, token=token).status_code == 204
    assert user.send("DELETE", ME, {"password": password}, token=token).status_code == 204
    assert user.me(token).status_code == 401


def test_every_call_works_for_many_at_once_and_after_a_restart(app: Flask, postgres: FaultyPostgres) -> None:
    def live(number: int) -> None:
        live_and_leave(app, f"user{number}")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(live, range(12)))
        postgres.restart()
        list(threads.map(live, range(12)))


def test_tabs_that_refresh_at_once_get_the_same_successor(app: Flask, mode: str) -> None:
    user = Actor(app.test_client(), mode).register()
    shown = user.pair["refresh_token"]

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: tab(app).try_refresh(shown), range(6)))

    assert [answer.status_code for answer in answers] == [200] * 6
    assert len({answer.get_json()["refresh_token"] for answer in answers}) == 1


def tab(app: Flask) -> Actor:
    """Return a user with a client of its own: a Flask test client serves one thread."""
    return Actor(app.test_client())
