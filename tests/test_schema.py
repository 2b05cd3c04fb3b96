"""schema.sql: applied at start, by several processes at once, and to databases that older versions filled."""

import threading

import psycopg2
import pytest

from app import create_app
from config import Settings
from conftest import PASSWORD, SECRET_KEY, MakeDatabase, run_sql
from db import SCHEMA_FILE, Database, SchemaError

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
    run_sql(url, SCHEMA_FILE.read_text(encoding="utf-8"))

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


def test_older_database_with_short_emails_refuses_a_long_one(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, OLDER_TABLE)
    client = create_app(settings_for(url)).test_client()
    email = f"{'a' * 60}@{'b' * 60}.example.com"

    answer = client.post("/api/auth/register", json={"username": "ada", "email": email, "password": PASSWORD})

    assert answer.status_code == 400
    assert answer.get_json()["fields"] == {"email": "Email is too long for this service."}
    assert run_sql(url, "SELECT count(*) FROM users") == [(0,)]


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
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.SCHEMA_RETRY_SECONDS", 0.0)
    url = make_database()
    run_sql(url, OLDER_TABLE)
    run_sql(url, INSERT, "bob", "a@example.com", OLDER_HASH)
    run_sql(url, INSERT, "BOB", "b@example.com", OLDER_HASH)
    client = create_app(settings_for(url)).test_client()
    credential = {"username": "bob", "password": PASSWORD}

    before = client.get("/health"), client.post("/api/auth/login", json=credential)
    run_sql(url, "UPDATE users SET username = 'bob2' WHERE id = 2")
    after = client.get("/health"), client.post("/api/auth/login", json=credential)

    assert [answer.status_code for answer in before] == [503, 503]
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
    holder = psycopg2.connect(url)
    with holder.cursor() as cur:
        cur.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")

    try:
        Database(url).apply_schema(seconds=1)
    finally:
        holder.close()
