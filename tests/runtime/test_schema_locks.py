"""schema.sql while others use the tables: who waits, for how long, and who is never kept waiting."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from db import SCHEMA_FILE, Database, DatabaseUnavailable, SchemaError
from runtime.schema_version import Version
from tests.support.actor import Actor
from tests.support.apps import client_on
from tests.support.database import MakeDatabase, held_open, run_sql
from tests.support.older_tables import INSERT, NARROW_TABLE, SPECIFIED_WIDTHS, widths
from tests.support.queries import has_valid_index, wait_until


@pytest.fixture
def earlier(make_database: MakeDatabase) -> str:
    """The URL of a database to which an earlier version of the file was applied."""
    url = make_database()
    Database(url).apply_schema()
    run_sql(url, "DROP TABLE auth_schema")
    return url


def test_complete_schema_that_is_read_only_is_served_as_it_is(
    earlier: str, log_lines: list[dict[str, Any]]
) -> None:
    name = urlsplit(earlier).path[1:]
    token = Actor(client_on(earlier)).register().pair["token"]
    run_sql(earlier, f"DROP TABLE auth_schema; ALTER DATABASE {name} SET default_transaction_read_only = on")

    client = client_on(earlier)

    assert Actor(client).me(token).status_code == 200
    assert "schema_not_brought_up_to_date" in str(log_lines)


def test_complete_schema_is_served_while_somebody_reads_the_table(
    earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.schema.LOCK_SECONDS", 0.2)
    run_sql(earlier, "ALTER TABLE users ALTER COLUMN email TYPE VARCHAR(100)")

    with held_open(earlier, "LOCK TABLE users IN ACCESS SHARE MODE"):
        client = client_on(earlier)
        health = client.get("/health")
    Database(earlier).apply_schema()

    assert health.status_code == 200
    assert widths(earlier) == SPECIFIED_WIDTHS


def test_start_on_an_older_table_that_somebody_reads_is_quick_and_truthful(
    make_database: MakeDatabase, log_lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.schema_state.SCHEMA_RETRY_SECONDS", 0.3)
    url = make_database()
    run_sql(url, NARROW_TABLE)

    with held_open(url, "SELECT FROM users"):
        started = time.monotonic()
        client = client_on(url)
        during = client.get("/health")
        seconds = time.monotonic() - started
    time.sleep(0.3)
    after = client.get("/health")

    body = during.get_json()
    assert seconds < 3
    assert (during.status_code, body["database"]) == (503, "connected")
    assert body["error"] == "The schema cannot be applied yet: somebody else uses the tables."
    assert "or find it in pg_stat_activity" in str(log_lines)
    assert after.status_code == 200


def test_widening_does_not_keep_anybody_from_reading_while_indexes_are_built(
    make_database: MakeDatabase,
) -> None:
    url = make_database()
    run_sql(url, NARROW_TABLE)
    locks = (
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'users'::regclass"
    )
    version = Version(SCHEMA_FILE)
    conn = psycopg2.connect(url)

    with conn, conn.cursor() as cur:
        cur.execute(version.tables)
        held = run_sql(url, locks)
    conn.close()

    assert held == [(1,)]
    assert "CREATE INDEX" not in re.sub("--.*", "", version.tables)
    assert all("CONCURRENTLY" in index for index in version.indexes.values())


def test_init_db_waits_for_a_reader_and_lets_others_pass(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.schema.LOCK_SECONDS", 0.2)
    monkeypatch.setattr("runtime.schema.LOCK_PAUSE_SECONDS", 0.2)
    url = make_database()
    run_sql(url, NARROW_TABLE)

    with ThreadPoolExecutor(1) as threads:
        with held_open(url, "SELECT FROM users"):
            applied = threads.submit(Database(url).apply_schema, seconds=30, again=True)
            for _ in range(10):
                run_sql(url, "SET statement_timeout = '1s'; SELECT id FROM users")
                assert not applied.done()
                time.sleep(0.05)
        applied.result()

    assert widths(url) == SPECIFIED_WIDTHS


def test_init_db_gives_up_in_the_end(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.schema.LOCK_SECONDS", 0.1)
    monkeypatch.setattr("runtime.schema.LOCK_PAUSE_SECONDS", 0.1)
    url = make_database()
    run_sql(url, NARROW_TABLE)

    with held_open(url, "SELECT FROM users"), pytest.raises(DatabaseUnavailable):
        Database(url).apply_schema(seconds=1, again=True)


def test_complete_schema_needs_neither_locks_nor_rights(make_database: MakeDatabase) -> None:
    url = make_database()
    Database(url).apply_schema()

    with held_open(url, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"):
        Database(url).apply_schema(seconds=1)


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_index_is_built_while_others_write(applied: str, isolation: str) -> None:
    name = urlsplit(applied).path.lstrip("/")
    run_sql(applied, f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    run_sql(applied, "DROP INDEX users_email_lower_key")
    building = "EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE UNIQUE%' AND state = 'active')"

    with ThreadPoolExecutor(1) as threads:
        with held_open(applied, "INSERT INTO users (username, email, password) VALUES ('a', 'a', 'x')"):
            done = threads.submit(Database(applied).apply_schema)
            wait_until(applied, building)
            run_sql(applied, f"SET statement_timeout = '2s'; {INSERT}", "b", "b@example.com", "x")
            assert not done.done()
        done.result()

    assert has_valid_index(applied, "users_email_lower_key")


def test_index_that_takes_longer_than_a_start_may_is_told_how(applied: str) -> None:
    run_sql(applied, "DROP INDEX users_email_lower_key")

    with (
        held_open(applied, "INSERT INTO users (username, email, password) VALUES ('a', 'a', 'x')"),
        pytest.raises(SchemaError, match="init-db"),
    ):
        Database(applied).apply_schema(seconds=1)
    Database(applied).apply_schema()

    assert has_valid_index(applied, "users_email_lower_key")
