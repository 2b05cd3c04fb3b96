"""GET /health and GET /health/live."""

import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import db
from tests.support.actor import LOGIN, ME, REGISTER, Actor, bearer
from tests.support.apps import app_on, client_on, messages
from tests.support.database import MakeDatabase, Sql, held_open, on_database, run_sql
from tests.support.registrations import ADA

LOCK = "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"


@pytest.fixture
def sockets(tmp_path: Path) -> Path:
    """A folder where no PostgreSQL listens."""
    return tmp_path


@pytest.fixture
def lost(sockets: Path) -> FlaskClient:
    """A client of a service whose database cannot be reached."""
    return client_on(f"postgresql://operator:hunter2@/users?host={sockets}")


@pytest.fixture
def future_database(postgres_url: str) -> Iterator[tuple[str, str]]:
    """The URL and the name of a database that does not exist yet."""
    name = f"user_service_test_{secrets.token_hex(6)}"
    yield on_database(postgres_url, name), name
    run_sql(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def test_health_with_a_database_is_200(client: FlaskClient) -> None:
    answer = client.get("/health")

    body = answer.get_json()
    at = datetime.strptime(body.pop("timestamp"), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert answer.status_code == 200
    assert body == {"status": "healthy", "service": "user-service", "database": "connected"}
    assert abs((datetime.now(timezone.utc) - at).total_seconds()) < 5


def test_health_without_a_database_is_503_in_the_same_shape(lost: FlaskClient) -> None:
    answer = lost.get("/health")

    body = answer.get_json()
    assert answer.status_code == 503
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body.pop("timestamp"))
    assert body == {
        "status": "unhealthy",
        "service": "user-service",
        "database": "disconnected",
        "error": "The database cannot be reached.",
        "code": "database_unavailable",
    }


def test_health_says_nothing_of_where_the_database_is(lost: FlaskClient, sockets: Path) -> None:
    answer = lost.get("/health")

    assert not [word for word in (str(sockets), "hunter2", "operator", "socket") if word in answer.text]


def test_health_without_a_database_logs_why_but_no_password(
    lost: FlaskClient, log_lines: list[dict[str, Any]]
) -> None:
    lost.get("/health")

    (error,) = messages(log_lines, "ERROR")
    assert error.startswith("unhealthy: cannot connect")
    assert "hunter2" not in str(log_lines)


@pytest.mark.slow
def test_health_of_a_silent_database_is_503_within_three_seconds(lost: FlaskClient, sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(sockets / ".s.PGSQL.5432"))
        silent.listen()
        started = time.monotonic()

        answer = lost.get("/health")

    assert answer.status_code == 503
    assert time.monotonic() - started < 3


def test_health_of_a_read_only_database_is_503(make_database: MakeDatabase) -> None:
    url = make_database()
    client = client_on(url)
    name = url.partition("?")[0].rpartition("/")[2]
    run_sql(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    answer = client.get("/health")

    body = answer.get_json()
    assert (answer.status_code, body["status"]) == (503, "unhealthy")
    assert (body["database"], body["error"]) == ("connected", "The database is read-only.")


def test_health_of_a_database_without_the_table_is_503(make_database: MakeDatabase) -> None:
    url = make_database()
    client = client_on(url)
    run_sql(url, "DROP SCHEMA public CASCADE")

    answer = client.get("/health")

    body = answer.get_json()
    assert (answer.status_code, body["code"]) == (503, "database_unavailable")
    assert (body["database"], body["error"]) == (
        "connected",
        "A table of the service is gone; it is being made again.",
    )


def test_health_of_a_locked_table_is_503_and_connected(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "PING_SECONDS", 0.5)
    url = make_database()
    client = client_on(url)

    with held_open(url, LOCK):
        answer = client.get("/health")

    assert (answer.status_code, answer.get_json()["database"]) == (503, "connected")


@pytest.mark.slow
def test_health_of_a_locked_table_is_the_same_for_callers_that_wait_for_the_check(
    make_database: MakeDatabase,
) -> None:
    url = make_database()
    app = app_on(url)
    barrier = threading.Barrier(6)

    def ask(number: int) -> str:
        barrier.wait()
        time.sleep(number // 3 * 0.1)  # three ask at the same moment, three while the check goes on
        caller = {"REMOTE_ADDR": f"192.0.2.{number}"}  # half of those who wait may be of one network
        answer = app.test_client().get("/health", environ_base=caller)
        assert answer.status_code == 503
        return str(answer.get_json()["database"])

    with held_open(url, LOCK), ThreadPoolExecutor(6) as threads:
        databases = set(threads.map(ask, range(6)))

    assert databases == {"connected"}


def test_live_without_a_database_is_200(lost: FlaskClient) -> None:
    answer = lost.get("/health/live")

    assert (answer.status_code, answer.get_json()) == (200, {"status": "alive"})


def test_live_is_200(client: FlaskClient) -> None:
    answer = client.get("/health/live")

    assert (answer.status_code, answer.get_json()) == (200, {"status": "alive"})


@pytest.mark.parametrize(
    "call",
    [
        pytest.param({"path": REGISTER, "method": "POST", "json": ADA}, id="register"),
        pytest.param({"path": LOGIN, "method": "POST", "json": ADA}, id="login"),
        pytest.param({"path": ME, "method": "GET"}, id="me"),
    ],
)
def test_api_without_a_database_is_503_with_a_time_to_retry(
    lost: FlaskClient, client: FlaskClient, sockets: Path, call: dict[str, Any]
) -> None:
    token = Actor(client).register().pair["token"]

    answer = lost.open(**call, headers=bearer(token))

    body = answer.get_json()
    assert answer.status_code == 503
    assert body.keys() == {"error", "code"}
    assert body["code"] == "database_unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    assert not [word for word in (str(sockets), "hunter2", "operator") if word in answer.text]


def test_service_started_without_its_database_recovers_when_the_database_comes(
    postgres_url: str, future_database: tuple[str, str]
) -> None:
    url, name = future_database
    client = client_on(url)
    before = client.get("/health"), client.post(REGISTER, json=ADA)
    run_sql(postgres_url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")

    after = client.post(REGISTER, json=ADA), client.get("/health")

    assert [answer.status_code for answer in before] == [503, 503]
    assert [answer.status_code for answer in after] == [201, 200]
    assert run_sql(url, "SELECT username FROM users") == [("ada",)]


def test_health_recovers_the_schema_by_itself(postgres_url: str, future_database: tuple[str, str]) -> None:
    url, name = future_database
    client = client_on(url)
    run_sql(postgres_url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")

    answer = client.get("/health")

    assert answer.status_code == 200
    assert run_sql(url, "SELECT to_regclass('users_email_lower_key') IS NOT NULL") == [(True,)]


def test_health_survives_the_end_of_its_connection(client: FlaskClient, sql: Sql) -> None:
    client.get("/health")
    ended = sql(
        """
        SELECT pg_terminate_backend(pid, 5000)
        FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
        """
    )

    answer = client.get("/health")

    assert ended
    assert answer.status_code == 200
