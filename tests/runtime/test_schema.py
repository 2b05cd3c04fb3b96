"""schema.sql: applied at start, once, by one of several processes, and completely."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from db import SCHEMA_FILE, Database, SchemaError, require_usable
from runtime.schema import SCHEMA_LOCK
from runtime.schema_version import Version
from tests.support.database import MakeDatabase, held_open, run_sql
from tests.support.older_tables import INSERT, OLDER_HASH
from tests.support.queries import has_valid_index, wait_until

# What another service might describe.
OTHER_SCHEMA = """
CREATE TABLE IF NOT EXISTS tags (
    id SERIAL PRIMARY KEY,
    label TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS auth_schema (
    fingerprint TEXT NOT NULL
);
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS tags_label_key ON tags {columns};
"""


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


def run_by_hand(url: str) -> None:
    """Run schema.sql as `psql -f` does: every statement by itself."""
    version = Version(SCHEMA_FILE)
    for statement in [version.tables, *version.indexes.values()]:
        run_sql(url, statement)


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


def test_version_whose_comments_differ_is_not_applied_again(
    make_database: MakeDatabase,
    tmp_path: Path,
    log_lines: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = make_database()
    Database(url).apply_schema()
    log_lines.clear()
    newer = tmp_path / "schema.sql"
    newer.write_text(f"-- Another comment.\n{SCHEMA_FILE.read_text(encoding='utf-8')}", encoding="utf-8")
    monkeypatch.setattr("db.SCHEMA_FILE", newer)

    Database(url).apply_schema()

    assert log_lines == []


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
        # The holder, the six, and the connection that asks.
        wait_until(url, "count(*) >= 8 FROM pg_stat_activity WHERE datname = current_database()")
        time.sleep(0.3)  # longer than LOCK_SECONDS: the turn is no lock on a table
        holder.close()
        for each in done:
            each.result()

    assert [line["message"].partition(" ")[0] for line in log_lines] == ["schema_applied"]


def test_indexes_of_a_table_with_rows_are_built_once_by_many_at_once(applied: str) -> None:
    run_sql(
        applied,
        "INSERT INTO users (username, email, password) SELECT n, n, 'x' FROM generate_series(1, 3000) AS n",
    )
    run_sql(applied, "DROP INDEX users_email_lower_key, users_username_lower_key, auth_sessions_user_id_idx")
    barrier = threading.Barrier(6)

    def start(_: int) -> None:
        barrier.wait()
        Database(applied).apply_schema()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(start, range(6)))

    assert has_valid_index(applied, "users_email_lower_key")
    assert run_sql(applied, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


def test_index_that_was_left_invalid_is_built_again(applied: str) -> None:
    run_sql(applied, "DROP INDEX users_email_lower_key")
    for name in ("ada", "bob"):
        run_sql(applied, INSERT, name, {"ada": "a@example.com", "bob": "A@example.com"}[name], "x")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        run_sql(
            applied,
            'CREATE UNIQUE INDEX CONCURRENTLY users_email_lower_key ON users (lower(email COLLATE "C"))',
        )
    run_sql(applied, "UPDATE users SET email = 'b@example.com' WHERE username = 'bob'")

    Database(applied).apply_schema()

    assert has_valid_index(applied, "users_email_lower_key")


def test_start_while_another_process_applies_the_schema_says_so(make_database: MakeDatabase) -> None:
    url = make_database()

    with (
        held_open(url, f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})"),
        pytest.raises(SchemaError, match="another process applies") as caught,
    ):
        Database(url).apply_schema(seconds=0.5)

    assert caught.value.sentence == "The schema is being applied."


@pytest.mark.parametrize(
    ("columns", "cause", "rows"),
    [
        pytest.param(
            '(lower(label COLLATE "C"))', "the labels of tags 1, 2", "tags", id="without regard to case"
        ),
        pytest.param("(lower(label))", 'could not create unique index "tags_label_key"', "rows", id="plain"),
    ],
)
def test_schema_of_other_tables_is_applied_from_its_file_alone(
    make_database: MakeDatabase,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    columns: str,
    cause: str,
    rows: str,
) -> None:
    url = make_database()
    file = tmp_path / "schema.sql"
    file.write_text(OTHER_SCHEMA.format(columns=columns), encoding="utf-8")
    monkeypatch.setattr("db.SCHEMA_FILE", file)
    run_sql(url, "CREATE TABLE tags (id SERIAL PRIMARY KEY, label TEXT NOT NULL)")
    run_sql(url, "INSERT INTO tags (label) VALUES ('new'), ('NEW')")

    with pytest.raises(SchemaError) as caught:
        Database(url).apply_schema()
    run_sql(url, "DELETE FROM tags WHERE id = 2; DROP INDEX tags_label_key")  # the index is invalid
    Database(url).apply_schema()
    Database(url).ping(require_usable)

    assert str(caught.value).endswith(cause)
    assert f"some {rows} differ only in case" in caught.value.sentence
    assert has_valid_index(url, "tags_label_key")
