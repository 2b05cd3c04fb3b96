"""Tables that are not as schema.sql makes them: an earlier version's, somebody else's, or none."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from db import Database, SchemaError
from tests.support.actor import LOGIN, REGISTER, Actor
from tests.support.apps import client_on, messages
from tests.support.database import MakeDatabase, held_open, run_sql
from tests.support.older_tables import CARRY_BACK
from tests.support.registrations import ADA

# Every relation and every constraint of a database.
NAMES = """
    SELECT relname, NULL FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION
    SELECT conname, conrelid::regclass::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    ORDER BY 1, 2
"""


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    """The URL of an empty database; every test gets its own."""
    return make_database()


def test_sessions_of_an_earlier_version_are_carried_over(url: str, log_lines: list[dict[str, Any]]) -> None:
    ada = Actor(client_on(url)).register()
    names = run_sql(url, NAMES)
    run_sql(url, CARRY_BACK)

    ada.client = client_on(url)
    me, refreshed, login = ada.me(), ada.try_refresh(), ada.try_log_in()

    assert [answer.status_code for answer in (me, refreshed, login)] == [200, 200, 200]
    assert run_sql(url, NAMES) == names
    assert "schema_warning: the table sessions is auth_sessions now" in str(log_lines)


def test_sessions_of_users_with_long_ids_are_carried_over_with_room_for_them(applied: str) -> None:
    run_sql(applied, f"{CARRY_BACK}; ALTER TABLE users ALTER id TYPE BIGINT")
    run_sql(applied, "ALTER SEQUENCE users_id_seq AS BIGINT; SELECT setval('users_id_seq', 3000000000)")

    ada = Actor(client_on(applied)).register()

    assert ada.id == 3000000001


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
    registered = client.post(REGISTER, json=ADA)

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
    health, login = client.get("/health"), client.post(LOGIN, json=ADA)

    assert (health.status_code, health.get_json()["database"]) == (503, "connected")
    assert health.get_json()["error"].endswith("a table lacks columns; the log names them.")
    assert (login.status_code, login.get_json()["code"]) == (503, "database_unavailable")
    errors = messages(log_lines, "ERROR")
    assert len(errors) == 3  # at the start, from /health, from the login
    assert all(f"lacks {lacking}" in error for error in errors)


def test_foreign_table_called_auth_schema_keeps_nobody_from_serving(applied: str) -> None:
    run_sql(applied, "DROP TABLE auth_schema; CREATE TABLE auth_schema (id INTEGER)")

    client = client_on(applied)

    assert client.get("/health").status_code == 200
    assert client.post(REGISTER, json=ADA).status_code == 201


def test_column_removed_under_the_running_service_is_unhealthy_and_a_500_with_its_sqlstate(
    applied: str, log_lines: list[dict[str, Any]]
) -> None:
    client = client_on(applied)
    Actor(client).register()
    run_sql(applied, "ALTER TABLE auth_sessions DROP user_agent")
    log_lines.clear()

    health, login = client.get("/health"), client.post(LOGIN, json=ADA)

    assert (health.status_code, health.get_json()["database"]) == (503, "connected")
    assert (login.status_code, login.get_json()["code"]) == (500, "internal_error")
    errors = messages(log_lines, "ERROR")
    assert [error.partition(":")[0] for error in errors] == ["unhealthy", "database_refused sqlstate=42703"]
    assert "auth_sessions.user_agent" in errors[0]
    assert "user_agent" in errors[1]


@pytest.mark.parametrize("call", ["/health", LOGIN])
def test_database_that_was_emptied_under_the_running_service_gets_its_schema_again(
    applied: str, call: str
) -> None:
    client = client_on(applied)
    Actor(client).register()
    client.get("/health")
    run_sql(applied, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    first = client.open(call, method="GET" if call == "/health" else "POST", json=ADA)
    again = client.post(REGISTER, json=ADA)

    assert first.status_code == 503
    assert "Retry-After" in first.headers or call == "/health"
    assert (again.status_code, client.get("/health").status_code) == (201, 200)


def test_database_that_was_made_anew_gets_its_schema_again(applied: str, postgres_url: str) -> None:
    client = client_on(applied)
    Actor(client).register()
    name = urlsplit(applied).path.lstrip("/")
    run_sql(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
    run_sql(postgres_url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")

    answers = [client.post(REGISTER, json=ADA).status_code for _ in range(2)]

    assert answers == [503, 201]


def test_table_of_somebody_else_that_is_gone_is_a_500(applied: str) -> None:
    client = client_on(applied)
    run_sql(
        applied, "CREATE FUNCTION audit() RETURNS TRIGGER AS 'BEGIN DELETE FROM gone; END' LANGUAGE plpgsql"
    )
    run_sql(applied, "CREATE TRIGGER audit AFTER INSERT ON users EXECUTE FUNCTION audit()")

    answers = [client.post(REGISTER, json=ADA).status_code for _ in range(2)]

    assert answers == [500, 500]
