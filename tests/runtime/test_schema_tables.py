"""schema.sql on databases whose tables are not as it makes them: older ones, somebody else's, none at all."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from flask.testing import FlaskClient

from app import create_app
from config import Settings
from db import Database, SchemaError
from runtime.schema import SCHEMA_LOCK
from tests.support import PASSWORD, SECRET_KEY
from tests.support.database import MakeDatabase, held_open, run_sql

ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
INSERT = "INSERT INTO users (username, email, password) VALUES (%s, %s, 'x')"
# As the version before made it; filled with the sessions of the newer table.
CARRY_BACK = """
    CREATE TABLE sessions (
        id BIGSERIAL PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        handle_hash BYTEA UNIQUE NOT NULL,
        token_hash BYTEA NOT NULL,
        previous_hash BYTEA,
        salt BYTEA,
        rotated_at TIMESTAMPTZ,
        created_at TIMESTAMPTZ NOT NULL,
        last_used_at TIMESTAMPTZ NOT NULL,
        valid_until TIMESTAMPTZ NOT NULL,
        expires_at TIMESTAMPTZ NOT NULL,
        ip TEXT NOT NULL,
        user_agent TEXT NOT NULL
    );
    CREATE INDEX sessions_user_id_idx ON sessions (user_id);
    CREATE INDEX sessions_valid_until_idx ON sessions (valid_until);
    INSERT INTO sessions SELECT * FROM auth_sessions;
    SELECT setval('sessions_id_seq', (SELECT last_value FROM auth_sessions_id_seq));
    DROP TABLE auth_sessions
"""
NAMES = """
    SELECT relname, NULL FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION
    SELECT conname, conrelid::regclass::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    ORDER BY 1, 2
"""


def client_on(url: str) -> FlaskClient:
    return create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4)).test_client()


def is_valid(url: str, index: str) -> bool:
    return run_sql(url, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", index) == [
        (True,)
    ]


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    return make_database()


@pytest.fixture
def applied(url: str) -> str:
    """The URL of a database that has all of schema.sql."""
    Database(url).apply_schema()
    return url


def test_sessions_of_an_earlier_version_are_carried_over(url: str, log_lines: list[dict[str, Any]]) -> None:
    registered = client_on(url).post("/api/auth/register", json=ADA).get_json()
    names = run_sql(url, NAMES)
    run_sql(url, CARRY_BACK)

    client = client_on(url)
    me = client.get("/api/auth/me", headers={"Authorization": f"Bearer {registered['token']}"})
    refreshed = client.post("/api/auth/refresh", json={"refresh_token": registered["refresh_token"]})
    login = client.post("/api/auth/login", json=ADA)

    assert [answer.status_code for answer in (me, refreshed, login)] == [200, 200, 200]
    assert run_sql(url, NAMES) == names
    assert "schema_warning: the table sessions is auth_sessions now" in str(log_lines)


def test_sessions_of_users_with_long_ids_are_carried_over_with_room_for_them(applied: str) -> None:
    run_sql(applied, f"{CARRY_BACK}; ALTER TABLE users ALTER id TYPE BIGINT")
    run_sql(applied, "ALTER SEQUENCE users_id_seq AS BIGINT; SELECT setval('users_id_seq', 3000000000)")

    answer = client_on(applied).post("/api/auth/register", json=ADA)

    assert answer.status_code == 201


def test_sessions_that_somebody_reads_are_carried_over_later(
    applied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.schema.LOCK_SECONDS", 0.2)
    run_sql(applied, CARRY_BACK)

    with held_open(applied, "SELECT FROM sessions"), pytest.raises(SchemaError, match="holds a table"):
        Database(applied).apply_schema()
    Database(applied).apply_schema()

    assert run_sql(applied, "SELECT to_regclass('sessions')") == [(None,)]


def test_foreign_table_called_sessions_is_left_alone(url: str) -> None:
    run_sql(
        url,
        "CREATE TABLE sessions (id SERIAL PRIMARY KEY, data TEXT); INSERT INTO sessions (data) VALUES ('x')",
    )

    client = client_on(url)
    registered = client.post("/api/auth/register", json=ADA)

    assert (client.get("/health").status_code, registered.status_code) == (200, 201)
    assert run_sql(url, "SELECT * FROM sessions") == [(1, "x")]


@pytest.mark.parametrize(
    ("statement", "lacking"),
    [
        pytest.param("ALTER TABLE users DROP first_name", "users.first_name", id="users"),
        pytest.param("ALTER TABLE auth_sessions DROP salt", "auth_sessions.salt", id="sessions"),
        pytest.param(
            "DROP TABLE auth_sessions; CREATE TABLE auth_sessions (id INTEGER, data TEXT)",
            "auth_sessions.created_at, auth_sessions.expires_at",
            id="somebody else's",
        ),
    ],
)
def test_table_without_a_column_that_the_service_uses_is_unhealthy_and_named(
    applied: str, log_lines: list[dict[str, Any]], statement: str, lacking: str
) -> None:
    run_sql(applied, statement)

    client = client_on(applied)
    health, login = client.get("/health"), client.post("/api/auth/login", json=ADA)

    assert (health.status_code, health.get_json()["database"]) == (503, "connected")
    assert health.get_json()["error"].endswith("a table lacks columns; the log names them.")
    assert (login.status_code, login.get_json()["code"]) == (503, "database_unavailable")
    errors = [line["message"] for line in log_lines if line["level"] == "ERROR"]
    assert len(errors) == 3  # at the start, from /health, from the login
    assert all(f"lacks {lacking}" in error for error in errors)


def test_foreign_table_called_auth_schema_keeps_nobody_from_serving(applied: str) -> None:
    run_sql(applied, "DROP TABLE auth_schema; CREATE TABLE auth_schema (id INTEGER)")

    client = client_on(applied)

    assert client.get("/health").status_code == 200
    assert client.post("/api/auth/register", json=ADA).status_code == 201


def test_column_removed_under_the_running_service_is_unhealthy_and_a_500_with_its_sqlstate(
    applied: str, log_lines: list[dict[str, Any]]
) -> None:
    client = client_on(applied)
    client.post("/api/auth/register", json=ADA)
    run_sql(applied, "ALTER TABLE auth_sessions DROP user_agent")
    log_lines.clear()

    health, login = client.get("/health"), client.post("/api/auth/login", json=ADA)

    assert (health.status_code, health.get_json()["database"]) == (503, "connected")
    assert (login.status_code, login.get_json()["code"]) == (500, "internal_error")
    errors = [line["message"] for line in log_lines if line["level"] == "ERROR"]
    assert [error.partition(":")[0] for error in errors] == ["unhealthy", "database_refused sqlstate=42703"]
    assert "auth_sessions.user_agent" in errors[0]
    assert "user_agent" in errors[1]


@pytest.mark.parametrize("call", ["/health", "/api/auth/login"])
def test_database_that_was_emptied_under_the_running_service_gets_its_schema_again(
    applied: str, call: str
) -> None:
    client = client_on(applied)
    client.post("/api/auth/register", json=ADA)
    client.get("/health")
    run_sql(applied, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    first = client.open(call, method="GET" if call == "/health" else "POST", json=ADA)
    again = client.post("/api/auth/register", json=ADA)

    assert first.status_code == 503
    assert "Retry-After" in first.headers or call == "/health"
    assert (again.status_code, client.get("/health").status_code) == (201, 200)


def test_database_that_was_made_anew_gets_its_schema_again(applied: str, postgres_url: str) -> None:
    client = client_on(applied)
    client.post("/api/auth/register", json=ADA)
    name = urlsplit(applied).path.lstrip("/")
    run_sql(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
    run_sql(postgres_url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")

    answers = [client.post("/api/auth/register", json=ADA).status_code for _ in range(2)]

    assert answers == [503, 201]


def test_table_of_somebody_else_that_is_gone_is_a_500(applied: str) -> None:
    client = client_on(applied)
    run_sql(
        applied, "CREATE FUNCTION audit() RETURNS TRIGGER AS 'BEGIN DELETE FROM gone; END' LANGUAGE plpgsql"
    )
    run_sql(applied, "CREATE TRIGGER audit AFTER INSERT ON users EXECUTE FUNCTION audit()")

    answers = [client.post("/api/auth/register", json=ADA).status_code for _ in range(2)]

    assert answers == [500, 500]


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_index_is_built_while_others_write(applied: str, isolation: str) -> None:
    name = urlsplit(applied).path.lstrip("/")
    run_sql(applied, f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    run_sql(applied, "DROP INDEX users_email_lower_key")
    building = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE UNIQUE%%' AND state = 'active'"

    with ThreadPoolExecutor(1) as threads:
        with held_open(applied, "INSERT INTO users (username, email, password) VALUES ('a', 'a', 'x')"):
            done = threads.submit(Database(applied).apply_schema)
            wait_until(applied, building)
            run_sql(applied, f"SET statement_timeout = '2s'; {INSERT}", "b", "b@example.com")
            assert not done.done()
        done.result()

    assert is_valid(applied, "users_email_lower_key")


def wait_until(url: str, query: str) -> None:
    deadline = time.monotonic() + 10
    while run_sql(url, query) == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_index_that_was_left_invalid_is_built_again(applied: str) -> None:
    run_sql(applied, "DROP INDEX users_email_lower_key")
    for name in ("ada", "bob"):
        run_sql(applied, INSERT, name, {"ada": "a@example.com", "bob": "A@example.com"}[name])
    with pytest.raises(psycopg2.errors.UniqueViolation):
        run_sql(
            applied,
            'CREATE UNIQUE INDEX CONCURRENTLY users_email_lower_key ON users (lower(email COLLATE "C"))',
        )
    run_sql(applied, "UPDATE users SET email = 'b@example.com' WHERE username = 'bob'")

    Database(applied).apply_schema()

    assert is_valid(applied, "users_email_lower_key")


def test_indexes_of_a_table_with_rows_are_built_once_by_many_at_once(url: str) -> None:
    Database(url).apply_schema()
    run_sql(
        url,
        "INSERT INTO users (username, email, password) SELECT n, n, 'x' FROM generate_series(1, 3000) AS n",
    )
    run_sql(url, "DROP INDEX users_email_lower_key, users_username_lower_key, auth_sessions_user_id_idx")
    barrier = threading.Barrier(6)

    def start(_: int) -> None:
        barrier.wait()
        Database(url).apply_schema()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(start, range(6)))

    assert is_valid(url, "users_email_lower_key")
    assert run_sql(url, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


def test_start_while_another_process_applies_the_schema_says_so(url: str) -> None:
    with (
        held_open(url, f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})"),
        pytest.raises(SchemaError, match="another process applies") as caught,
    ):
        Database(url).apply_schema(seconds=0.5)

    assert caught.value.sentence == "The schema is being applied."


def test_index_that_takes_longer_than_a_start_may_is_told_how(applied: str) -> None:
    run_sql(applied, "DROP INDEX users_email_lower_key")

    with (
        held_open(applied, "INSERT INTO users (username, email, password) VALUES ('a', 'a', 'x')"),
        pytest.raises(SchemaError, match="init-db"),
    ):
        Database(applied).apply_schema(seconds=1)
    Database(applied).apply_schema()

    assert is_valid(applied, "users_email_lower_key")
