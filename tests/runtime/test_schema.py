"""schema.sql: applied at start, by several processes at once, and to databases that older versions filled."""

import re
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from app import create_app
from config import Settings
from db import SCHEMA_FILE, Database, SchemaError
from runtime.faults import DatabaseUnavailable
from runtime.schema import SCHEMA_LOCK
from runtime.schema_version import Version
from tests.runtime.test_schema_tables import CARRY_BACK
from tests.support import PASSWORD, SECRET_KEY
from tests.support.database import MakeDatabase, held_open, on_database, run_sql

OLDER_TABLE = """
    CREATE TABLE users (
        id SERIAL PRIMARY KEY,
        username VARCHAR(50) UNIQUE NOT NULL,
        email VARCHAR(100) UNIQUE NOT NULL,
        password TEXT NOT NULL,
        first_name VARCHAR(100),
        last_name VARCHAR(100),
        created_at TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP
    )
"""
# "correct horse" at cost 4, made by the bcrypt of an older version.
OLDER_HASH = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
INSERT = "INSERT INTO users (username, email, password) VALUES (%s, %s, %s)"


def run_by_hand(url: str) -> None:
    """Run schema.sql as `psql -f` does: every statement by itself."""
    version = Version(SCHEMA_FILE)
    for statement in [version.tables, *version.indexes.values()]:
        run_sql(url, statement)


def settings_for(url: str) -> Settings:
    return Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4)


def test_schema_on_an_empty_database_is_the_specified_table(make_database: MakeDatabase) -> None:
    url = make_database()

    Database(url).apply_schema()

    columns = run_sql(
        url,
        """
        SELECT column_name, data_type, character_maximum_length, is_nullable, column_default
        FROM information_schema.columns
        WHERE table_name = 'users'
        ORDER BY ordinal_position
        """,
    )
    assert columns == [
        ("id", "integer", None, "NO", "nextval('users_id_seq'::regclass)"),
        ("username", "character varying", 50, "NO", None),
        ("email", "character varying", 255, "NO", None),
        ("password", "text", None, "NO", None),
        ("first_name", "character varying", 100, "YES", None),
        ("last_name", "character varying", 100, "YES", None),
        ("created_at", "timestamp without time zone", None, "YES", "CURRENT_TIMESTAMP"),
    ]


def test_schema_applied_twice_changes_nothing(make_database: MakeDatabase) -> None:
    url = make_database()
    Database(url).apply_schema()
    run_sql(url, INSERT, "ada", "ada@example.com", OLDER_HASH)

    Database(url).apply_schema()
    run_by_hand(url)

    assert run_sql(url, "SELECT username FROM users") == [("ada",)]


def test_schema_applied_by_many_at_once_succeeds_for_all(make_database: MakeDatabase) -> None:
    url = make_database()
    barrier = threading.Barrier(8)
    failures: list[Exception] = []

    def start() -> None:
        database = Database(url)
        barrier.wait()
        try:
            database.apply_schema()
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert run_sql(url, "SELECT count(*) FROM users") == [(0,)]


def test_older_database_keeps_working_untouched(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, OLDER_TABLE)
    run_sql(url, INSERT, "Grace Hopper", "Grace@Example.com", OLDER_HASH)
    run_sql(url, "UPDATE users SET created_at = '2024-05-06 07:08:09+02'")
    stored = run_sql(url, "SELECT * FROM users")

    client = create_app(settings_for(url)).test_client()
    by_email = client.post("/api/auth/login", json={"email": "grace@example.com", "password": PASSWORD})
    by_name = client.post("/api/auth/login", json={"username": "grace hopper", "password": PASSWORD})

    assert (by_email.status_code, by_name.status_code) == (200, 200)
    assert by_email.get_json()["user"]["created_at"] == "2024-05-06T05:08:09.000Z"
    assert run_sql(url, "SELECT * FROM users") == stored


# The platform's table, as its earlier service made it.
NARROW_TABLE = """
    CREATE TABLE users (
        id SERIAL PRIMARY KEY,
        username VARCHAR(50) UNIQUE NOT NULL,
        email VARCHAR(100) UNIQUE NOT NULL,
        password VARCHAR(255) NOT NULL,
        first_name VARCHAR(50),
        last_name VARCHAR(50),
        created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
    )
"""
LONG = {
    "username": "ada",
    "email": f"{'a' * 60}@{'b' * 60}.example.com",
    "password": PASSWORD,
    "first_name": "A" * 100,
    "last_name": "L" * 100,
}


def widths(url: str) -> dict[str, int | None]:
    statement = """
        SELECT column_name, character_maximum_length
        FROM information_schema.columns
        WHERE table_name = 'users' AND data_type IN ('text', 'character varying')
    """
    return dict(run_sql(url, statement))


SPECIFIED = {"username": 50, "email": 255, "password": None, "first_name": 100, "last_name": 100}


def test_columns_narrower_than_specified_are_widened_without_a_rewrite(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, NARROW_TABLE)
    file_of_table = run_sql(url, "SELECT pg_relation_filenode('users')")

    client = create_app(settings_for(url)).test_client()
    answer = client.post("/api/auth/register", json=LONG)

    assert answer.status_code == 201, answer.text
    assert widths(url) == SPECIFIED
    assert run_sql(url, "SELECT pg_relation_filenode('users')") == file_of_table


def test_columns_of_a_database_that_an_earlier_version_completed_are_widened(earlier: str) -> None:
    run_sql(earlier, "ALTER TABLE users ALTER COLUMN email TYPE VARCHAR(100)")

    Database(earlier).apply_schema()

    assert widths(earlier) == SPECIFIED


def test_columns_wider_than_specified_stay_as_they_are(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, "CREATE TABLE users (id SERIAL PRIMARY KEY, username TEXT, email VARCHAR, password TEXT)")
    run_sql(
        url, "ALTER TABLE users ADD first_name VARCHAR(200), ADD last_name VARCHAR(100), ADD created_at DATE"
    )
    before = widths(url)

    Database(url).apply_schema()

    assert widths(url) == before


def test_column_that_a_view_keeps_narrow_is_warned_about_and_names_itself_when_a_value_is_too_long(
    make_database: MakeDatabase, log_lines: list[dict[str, Any]]
) -> None:
    url = make_database()
    run_sql(url, NARROW_TABLE)
    run_sql(url, "CREATE VIEW names AS SELECT id, first_name, email FROM users")

    client = create_app(settings_for(url)).test_client()
    answer = client.post("/api/auth/register", json=LONG)

    warnings = [line["message"] for line in log_lines if line["level"] == "WARNING"]
    assert [warning.partition(" and ")[0] for warning in warnings if "schema_warning" in warning] == [
        "schema_warning: users.email is narrower than VARCHAR(255)",
        "schema_warning: users.first_name is narrower than VARCHAR(100)",
    ]
    assert answer.status_code == 400
    assert answer.get_json()["fields"] == {
        "email": "Email must be at most 100 characters long.",
        "first_name": "First name must be at most 50 characters long.",
    }
    assert run_sql(url, "SELECT count(*) FROM users") == [(0,)]


def test_change_to_a_value_that_is_too_long_for_an_older_column_names_it(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, NARROW_TABLE)
    run_sql(url, "CREATE VIEW names AS SELECT last_name FROM users")
    client = create_app(settings_for(url)).test_client()
    token = client.post("/api/auth/register", json=LONG | {"last_name": "L"}).get_json()["token"]

    answer = client.patch(
        "/api/auth/me", json={"last_name": "L" * 51}, headers={"Authorization": f"Bearer {token}"}
    )

    assert answer.status_code == 400
    assert answer.get_json()["fields"] == {"last_name": "Last name must be at most 50 characters long."}
    assert run_sql(url, "SELECT last_name FROM users") == [("L",)]


def test_view_that_is_gone_lets_init_db_widen_the_column(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, NARROW_TABLE)
    run_sql(url, "CREATE VIEW names AS SELECT first_name FROM users")
    Database(url).apply_schema()
    run_sql(url, "DROP VIEW names")

    Database(url).apply_schema(again=True)

    assert widths(url) == SPECIFIED


def test_other_version_of_the_schema_is_applied_once(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = make_database()
    Database(url).apply_schema()
    counting = "CREATE SEQUENCE IF NOT EXISTS applied; SELECT nextval('applied');"
    newer = tmp_path / "schema.sql"
    newer.write_text(SCHEMA_FILE.read_text(encoding="utf-8") + counting, encoding="utf-8")
    monkeypatch.setattr("db.SCHEMA_FILE", newer)

    for _ in range(3):
        Database(url).apply_schema()

    assert run_sql(url, "SELECT last_value FROM applied") == [(1,)]


def test_other_version_of_the_schema_is_applied_by_one_of_many(
    make_database: MakeDatabase, log_lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.schema.LOCK_SECONDS", 0.2)
    url = make_database()
    Database(url).apply_schema()
    run_sql(url, "UPDATE auth_schema SET fingerprint = 'another'")
    log_lines.clear()
    holder = psycopg2.connect(url)
    with holder.cursor() as cur:
        cur.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))

    with ThreadPoolExecutor(6) as threads:
        done = [threads.submit(Database(url).apply_schema) for _ in range(6)]
        wait_for_connections(url, at_least=7)
        time.sleep(0.3)  # longer than one may wait for the table
        holder.close()
        for each in done:
            each.result()

    assert [line["message"].partition(" ")[0] for line in log_lines] == ["schema_applied"]


def wait_for_connections(url: str, *, at_least: int) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    deadline = time.monotonic() + 10
    while run_sql(url, query)[0][0] <= at_least:  # one of them asks
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_column_of_a_narrow_domain_names_itself_when_a_value_is_too_long(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, "CREATE DOMAIN personal_name AS VARCHAR(50)")
    run_sql(url, NARROW_TABLE.replace("first_name VARCHAR(50)", "first_name personal_name"))
    client = create_app(settings_for(url)).test_client()

    answer = client.post("/api/auth/register", json=LONG)

    assert answer.status_code == 400
    assert answer.get_json()["fields"] == {"first_name": "First name must be at most 50 characters long."}


def test_column_that_a_parent_table_keeps_narrow_is_warned_about(
    make_database: MakeDatabase, log_lines: list[dict[str, Any]]
) -> None:
    url = make_database()
    run_sql(url, "CREATE TABLE people (first_name VARCHAR(50))")
    run_sql(
        url,
        NARROW_TABLE.replace("first_name VARCHAR(50),", "").rstrip().removesuffix(")")
        + ") INHERITS (people)",
    )

    Database(url).apply_schema()

    assert widths(url) == SPECIFIED | {"first_name": 50}
    assert "users.first_name is narrower than VARCHAR(100)" in str(log_lines)


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
    client = create_app(settings_for(earlier)).test_client()
    token = client.post("/api/auth/register", json=LONG).get_json()["token"]
    run_sql(earlier, f"DROP TABLE auth_schema; ALTER DATABASE {name} SET default_transaction_read_only = on")

    client = create_app(settings_for(earlier)).test_client()

    assert client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert "schema_not_brought_up_to_date" in str(log_lines)


def test_complete_schema_is_served_while_somebody_reads_the_table(
    earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.schema.LOCK_SECONDS", 0.2)
    run_sql(earlier, "ALTER TABLE users ALTER COLUMN email TYPE VARCHAR(100)")

    with held_open(earlier, "LOCK TABLE users IN ACCESS SHARE MODE"):
        client = create_app(settings_for(earlier)).test_client()
        health = client.get("/health")
    Database(earlier).apply_schema()

    assert health.status_code == 200
    assert widths(earlier) == SPECIFIED


def test_start_on_an_older_table_that_somebody_reads_is_quick_and_truthful(
    make_database: MakeDatabase, log_lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.schema_state.SCHEMA_RETRY_SECONDS", 0.3)
    url = make_database()
    run_sql(url, NARROW_TABLE)

    with held_open(url, "SELECT FROM users"):
        started = time.monotonic()
        client = create_app(settings_for(url)).test_client()
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
                run_sql(url, "SET statement_timeout = '1s'; SELECT FROM users")
                assert not applied.done()
                time.sleep(0.05)
        applied.result()

    assert widths(url) == SPECIFIED


def test_init_db_gives_up_in_the_end(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.schema.LOCK_SECONDS", 0.1)
    monkeypatch.setattr("runtime.schema.LOCK_PAUSE_SECONDS", 0.1)
    url = make_database()
    run_sql(url, NARROW_TABLE)

    with held_open(url, "SELECT FROM users"), pytest.raises(DatabaseUnavailable):
        Database(url).apply_schema(seconds=1, again=True)


@pytest.fixture
def plain_role(postgres_url: str, make_database: MakeDatabase) -> Iterator[str]:
    """The URL of a database, as a role that has no rights but to log in."""
    if int(run_sql(postgres_url, "SHOW server_version_num")[0][0]) < 150000:
        pytest.skip("before PostgreSQL 15 everybody may create tables in the schema public")
    role = f"user_service_test_{secrets.token_hex(6)}"
    url = make_database()
    run_sql(url, f"CREATE ROLE {role} LOGIN PASSWORD 'plain'")
    host = urlsplit(url).netloc.rpartition("@")[2]
    yield urlunsplit(urlsplit(url)._replace(netloc=f"{role}:plain@{host}"))
    run_sql(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


def as_owner(plain_role: str, postgres_url: str) -> str:
    """Return the URL of the same database, as the role that owns it."""
    return on_database(postgres_url, urlsplit(plain_role).path.lstrip("/"))


def test_role_that_may_not_create_tables_is_told_what_helps(plain_role: str, postgres_url: str) -> None:
    with pytest.raises(SchemaError) as caught:
        Database(plain_role).apply_schema()
    (remedy,) = re.findall(r"GRANT [^)]+", str(caught.value))
    run_sql(as_owner(plain_role, postgres_url), remedy)

    Database(plain_role).apply_schema()

    assert "permission denied for schema public" in str(caught.value)
    assert run_sql(plain_role, "SELECT count(*) FROM users") == [(0,)]


def test_role_that_may_not_change_a_complete_schema_can_serve(
    plain_role: str, postgres_url: str, log_lines: list[dict[str, Any]]
) -> None:
    owner = as_owner(plain_role, postgres_url)
    role = urlsplit(plain_role).username
    Database(owner).apply_schema()
    run_sql(owner, "DROP TABLE auth_schema")  # which an earlier version did not have
    run_sql(owner, f"GRANT ALL ON users, auth_sessions TO {role}")
    run_sql(owner, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")

    client = create_app(settings_for(plain_role)).test_client()

    assert client.post("/api/auth/register", json=LONG).status_code == 201
    warnings = [line["message"] for line in log_lines if line["level"] == "WARNING"]
    assert [text.partition(":")[0] for text in warnings if "schema" in text] == [
        "schema_not_brought_up_to_date"
    ]


def test_role_that_may_not_rename_the_older_table_of_sessions_is_told_what_helps(
    plain_role: str, postgres_url: str
) -> None:
    owner = as_owner(plain_role, postgres_url)
    Database(owner).apply_schema()
    run_sql(owner, CARRY_BACK)
    run_sql(owner, f"GRANT CREATE ON SCHEMA public TO {urlsplit(plain_role).username}")

    with pytest.raises(
        SchemaError, match="must be owner of table sessions; make the role of DB_URL the owner"
    ):
        Database(plain_role).apply_schema()

    assert run_sql(owner, "SELECT to_regclass('auth_sessions')") == [(None,)]


def test_right_that_is_taken_away_is_unhealthy_and_named(
    plain_role: str, postgres_url: str, log_lines: list[dict[str, Any]]
) -> None:
    owner = as_owner(plain_role, postgres_url)
    role = urlsplit(plain_role).username
    Database(owner).apply_schema()
    run_sql(owner, f"GRANT ALL ON users, auth_sessions TO {role}")
    run_sql(owner, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    client = create_app(settings_for(plain_role)).test_client()
    before = client.get("/health")
    run_sql(
        owner, f"REVOKE INSERT, DELETE ON auth_sessions FROM {role}; REVOKE ALL ON users_id_seq FROM {role}"
    )

    health, registration = client.get("/health"), client.post("/api/auth/register", json=LONG)

    assert (before.status_code, health.status_code, registration.status_code) == (200, 503, 500)
    assert health.get_json()["error"] == "The database does not let the service use its tables."
    errors = [line["message"] for line in log_lines if line["level"] == "ERROR"]
    assert (
        "lacks rights: auth_sessions: INSERT, auth_sessions: DELETE, public.users_id_seq: USAGE" in errors[0]
    )
    assert "database_refused sqlstate=42501: permission denied" in errors[1]


def test_database_that_cannot_hold_a_character_refuses_it(make_database: MakeDatabase) -> None:
    url = make_database("TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    client = create_app(settings_for(url)).test_client()
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}

    refused = client.post("/api/auth/register", json=body | {"first_name": "日本"})
    stored = client.post("/api/auth/register", json=body | {"first_name": "Zoë"})

    assert (refused.status_code, refused.get_json()["code"]) == (400, "validation_failed")
    assert (stored.status_code, stored.get_json()["user"]["first_name"]) == (201, "Zoë")


def test_names_that_differ_only_in_case_are_reported_by_row(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, OLDER_TABLE)
    for username, email in [("bob", "a@example.com"), ("BOB", "b@example.com"), ("eve", "A@example.com")]:
        run_sql(url, INSERT, username, email, OLDER_HASH)

    with pytest.raises(SchemaError) as caught:
        Database(url).apply_schema()

    assert "the usernames of users 1, 2" in str(caught.value)
    assert "the emails of users 1, 3" in str(caught.value)
    assert "example.com" not in str(caught.value)


def test_service_on_names_that_differ_only_in_case_is_unhealthy_until_mended(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, log_lines: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr("runtime.schema_state.SCHEMA_RETRY_SECONDS", 0.0)
    url = make_database()
    run_sql(url, OLDER_TABLE)
    run_sql(url, INSERT, "bob", "a@example.com", OLDER_HASH)
    run_sql(url, INSERT, "BOB", "b@example.com", OLDER_HASH)
    client = create_app(settings_for(url)).test_client()
    credential = {"username": "bob", "password": PASSWORD}

    before = client.get("/health"), client.post("/api/auth/login", json=credential)
    run_sql(url, "UPDATE users SET username = 'bob2' WHERE id = 2")
    after = client.get("/health"), client.post("/api/auth/login", json=credential)

    health = before[0].get_json()
    assert [answer.status_code for answer in before] == [503, 503]
    assert health["database"] == "connected"
    assert (
        health["error"]
        == "The schema cannot be applied: some users differ only in case; the log has their ids."
    )
    errors = [line["message"] for line in log_lines if line["level"] == "ERROR"]
    assert len(errors) == 3  # at the start, from /health, from the login
    assert all("the usernames of users 1, 2" in error for error in errors)
    assert not [error for error in errors if "PostgreSQL runs" in error]
    assert [answer.status_code for answer in after] == [200, 200]


def test_email_of_one_user_that_is_the_username_of_another_logs_its_owner_in(
    make_database: MakeDatabase,
) -> None:
    url = make_database()
    run_sql(url, OLDER_TABLE)
    run_sql(url, INSERT, "ada@example.com", "squatter@example.com", OLDER_HASH)
    run_sql(url, INSERT, "ada", "ada@example.com", OLDER_HASH)
    client = create_app(settings_for(url)).test_client()

    answer = client.post("/api/auth/login", json={"email": "ada@example.com", "password": PASSWORD})

    assert answer.get_json()["user"]["id"] == 2


def test_complete_schema_needs_neither_locks_nor_rights(make_database: MakeDatabase) -> None:
    url = make_database()
    Database(url).apply_schema()

    with held_open(url, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"):
        Database(url).apply_schema(seconds=1)
