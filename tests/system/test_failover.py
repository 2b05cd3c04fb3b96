"""A primary and its standby change places: writes go on at the new primary, without a restart."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from app import create_app
from config import Settings
from dev import postgres as embedded_postgres
from dev import postgres_binaries
from tests.support import PASSWORD, SECRET_KEY, service
from tests.support.database import run_sql
from tests.system.test_faults import Client, Postgres, read_only, registering

FAILOVER_SECONDS = 10.0
BINARIES = postgres_binaries.find_all()[0]

pytestmark = pytest.mark.skipif(
    not (BINARIES / "pg_basebackup").exists() or not list(BINARIES.parent.rglob("libpqwalreceiver*")),
    reason="this PostgreSQL cannot replicate",
)


@dataclass(frozen=True)
class Pair:
    """A primary whose every commit waits for its standby. url: names both, and wants the writable one."""

    primary: Postgres
    standby: Postgres
    url: str


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with (
        tempfile.TemporaryDirectory(prefix="pg-") as first,  # a socket's path is short
        tempfile.TemporaryDirectory(prefix="pg-") as second,
    ):
        primary = Postgres(tmp_path / "first", Path(first))
        copy(primary.server.url, tmp_path / "second" / "postgres")
        standby = Postgres(tmp_path / "second", Path(second))
        run_sql(primary.server.url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        run_sql(primary.server.url, "SELECT pg_reload_conf()")
        both = f"postgresql://postgres@/postgres?host={first},{second}&target_session_attrs=read-write"
        yield Pair(primary, standby, both)
        standby.stop()
        primary.stop()


def copy(url: str, data: Path) -> None:
    """Make a data folder of a standby that streams from the server of `url`."""
    host = parse_dsn(url)["host"]
    command = [BINARIES / "pg_basebackup", "-h", host, "-U", "postgres", "-D", data, "-R", "-c", "fast", "-N"]
    subprocess.run(command, check=True, capture_output=True)
    if os.getuid() == 0:
        for path in [data, *data.rglob("*")]:
            shutil.chown(path, embedded_postgres.UNPRIVILEGED_USER)


def promote(server: Postgres) -> None:
    run_sql(server.server.url, "SELECT pg_promote()")


def test_nothing_acknowledged_is_missing_after_a_failover(pair: Pair, tmp_path: Path) -> None:
    environ = {"DB_URL": pair.url, "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4", "DB_POOL_SIZE": "4"}

    with service.running(tmp_path / "log", **environ) as running:
        client = Client(running)
        with registering(client) as created:
            await_more(created, seconds=30)
            pair.primary.stop(at_once=True)
            promote(pair.standby)
            await_more(created, seconds=FAILOVER_SECONDS)
        assert (client.me().status_code, client.health().status_code) == (200, 200)

    stored = {name for (name,) in run_sql(pair.standby.server.url, "SELECT username FROM users")}
    assert set(created) <= stored
    assert "Traceback" not in (tmp_path / "log").read_text()


def await_more(created: list[str], *, seconds: float) -> None:
    """Wait until twenty more were created."""
    enough = len(created) + 20
    deadline = time.monotonic() + seconds
    while len(created) < enough:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_primary_that_became_read_only_under_open_connections_is_left(pair: Pair) -> None:
    app = create_app(Settings(db_url=pair.url, secret_key=SECRET_KEY, bcrypt_rounds=4))
    client = app.test_client()

    def register(name: str) -> int:
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        return client.post("/api/auth/register", json=body).status_code

    assert register("before") == 201
    assert client.get("/health").status_code == 200
    with read_only(pair.primary.server.url):
        promote(pair.standby)

        assert register("after") == 201
        assert client.get("/health").status_code == 200
    assert len(run_sql(pair.standby.server.url, "SELECT id FROM users")) == 2
    app.extensions["auth"].database.close()
