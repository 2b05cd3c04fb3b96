"""Failover: a standby becomes the primary, and writes go on there without a restart of the service."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from dev import postgres_binaries, privileges
from tests.support import faulty_postgres
from tests.support.actor import WRONG_PASSWORD, Actor
from tests.support.apps import app_on
from tests.support.database import run_sql
from tests.support.faulty_postgres import FaultyPostgres
from tests.support.service_user import on_service, registering

FAILOVER_SECONDS = 10.0
BINARIES = postgres_binaries.find_all()[0]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BINARIES / "pg_basebackup").exists() or not list(BINARIES.parent.rglob("libpqwalreceiver*")),
        reason="this PostgreSQL cannot replicate",
    ),
]


@dataclass(frozen=True)
class Pair:
    """A primary whose every commit waits for its standby. url: names both and wants the writable one."""

    primary: FaultyPostgres
    standby: FaultyPostgres
    url: str


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with faulty_postgres.running(tmp_path / "first") as primary:
        copy(primary.url, tmp_path / "second" / "postgres")
        with faulty_postgres.running(tmp_path / "second") as standby:
            run_sql(primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            run_sql(primary.url, "SELECT pg_reload_conf()")
            hosts = ",".join(parse_dsn(server.url)["host"] for server in (primary, standby))
            url = f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write"
            yield Pair(primary, standby, url)


def copy(url: str, data: Path) -> None:
    """Make a data folder of a standby that streams from the server of `url`."""
    host = parse_dsn(url)["host"]
    command = [BINARIES / "pg_basebackup", "-h", host, "-U", "postgres", "-D", data, "-R", "-c", "fast", "-N"]
    subprocess.run(command, check=True, capture_output=True)
    if os.getuid() == 0:
        for path in [data, *data.rglob("*")]:
            shutil.chown(path, privileges.UNPRIVILEGED_USER)


def promote(server: FaultyPostgres) -> None:
    run_sql(server.url, "SELECT pg_promote()")


def test_nothing_acknowledged_is_missing_after_a_failover(pair: Pair, tmp_path: Path) -> None:
    with on_service(tmp_path / "log", pair.url) as user:
        with registering(user) as created:
            await_twenty_more(created, seconds=30)
            pair.primary.stop(at_once=True)
            promote(pair.standby)
            await_twenty_more(created, seconds=FAILOVER_SECONDS)
        assert (user.me().status_code, user.health().status_code) == (200, 200)

    stored = {name for (name,) in run_sql(pair.standby.url, "SELECT username FROM users")}
    assert set(created) <= stored


def await_twenty_more(created: list[str], *, seconds: float) -> None:
    enough = len(created) + 20
    deadline = time.monotonic() + seconds
    while len(created) < enough:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_primary_that_became_read_only_under_open_connections_is_left(pair: Pair) -> None:
    app = app_on(pair.url)
    client = app.test_client()

    Actor(client, "before").register()
    assert client.get("/health").status_code == 200
    with pair.primary.read_only():
        promote(pair.standby)

        Actor(client, "after").register()
        assert client.get("/health").status_code == 200
    assert len(run_sql(pair.standby.url, "SELECT id FROM users")) == 2
    app.extensions["auth"].database.close()


def test_login_on_a_standby_is_refused_until_it_is_promoted(pair: Pair) -> None:
    on_primary, on_standby = app_on(pair.primary.url), app_on(pair.standby.url)
    Actor(on_primary.test_client()).register()
    Actor(on_primary.test_client()).try_log_in(password=WRONG_PASSWORD)
    user = Actor(on_standby.test_client())

    refused = user.try_log_in()  # the budgets are in an unlogged table, which a standby cannot even read

    assert (refused.status_code, refused.get_json()["code"]) == (503, "database_unavailable")
    assert len(run_sql(pair.primary.url, "SELECT key FROM auth_throttle")) > 0
    pair.primary.stop(at_once=True)
    promote(pair.standby)
    assert run_sql(pair.standby.url, "SELECT key FROM auth_throttle") == []
    user.log_in()
    for app in (on_primary, on_standby):
        app.extensions["auth"].database.close()
