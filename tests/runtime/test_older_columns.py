"""A table users whose columns are narrower or wider than specified."""

from typing import Any

from db import Database
from tests.support.actor import REGISTER, Actor
from tests.support.apps import client_on, messages
from tests.support.database import MakeDatabase, run_sql
from tests.support.older_tables import LONG, NARROW_TABLE, SPECIFIED_WIDTHS, widths


def test_columns_narrower_than_specified_are_widened_without_a_rewrite(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, NARROW_TABLE)
    table_file = run_sql(url, "SELECT pg_relation_filenode('users')")

    Actor(client_on(url)).register(**LONG)

    assert widths(url) == SPECIFIED_WIDTHS
    assert run_sql(url, "SELECT pg_relation_filenode('users')") == table_file


def test_columns_of_a_database_that_an_earlier_version_completed_are_widened(
    make_database: MakeDatabase,
) -> None:
    earlier = make_database()
    Database(earlier).apply_schema()
    run_sql(earlier, "DROP TABLE auth_schema")
    run_sql(earlier, "ALTER TABLE users ALTER COLUMN email TYPE VARCHAR(100)")

    Database(earlier).apply_schema()

    assert widths(earlier) == SPECIFIED_WIDTHS


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

    answer = client_on(url).post(REGISTER, json=LONG)

    warnings = messages(log_lines, "WARNING")
    assert [warning.partition(" and ")[0] for warning in warnings if "schema_warning" in warning] == [
        "schema_warning: users.email is narrower than VARCHAR(255)",
        "schema_warning: users.first_name is narrower than VARCHAR(100)",
    ]
    assert answer.status_code == 400
    assert answer.get_json()["fields"] == {  # by the real widths
        "email": "Email must be at most 100 characters long.",
        "first_name": "First name must be at most 50 characters long.",
    }
    assert run_sql(url, "SELECT count(*) FROM users") == [(0,)]


def test_change_to_a_value_that_is_too_long_for_an_older_column_names_it(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, NARROW_TABLE)
    run_sql(url, "CREATE VIEW names AS SELECT last_name FROM users")
    user = Actor(client_on(url)).register(**LONG | {"last_name": "L"})

    answer = user.change_profile(last_name="L" * 51)

    assert answer.status_code == 400
    assert answer.get_json()["fields"] == {"last_name": "Last name must be at most 50 characters long."}
    assert run_sql(url, "SELECT last_name FROM users") == [("L",)]


def test_init_db_widens_a_column_whose_view_was_dropped(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, NARROW_TABLE)
    run_sql(url, "CREATE VIEW names AS SELECT first_name FROM users")
    Database(url).apply_schema()
    run_sql(url, "DROP VIEW names")

    Database(url).apply_schema(again=True)

    assert widths(url) == SPECIFIED_WIDTHS


def test_column_of_a_narrow_domain_names_itself_when_a_value_is_too_long(make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, "CREATE DOMAIN personal_name AS VARCHAR(50)")
    run_sql(url, NARROW_TABLE.replace("first_name VARCHAR(50)", "first_name personal_name"))

    answer = client_on(url).post(REGISTER, json=LONG)

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

    assert widths(url) == SPECIFIED_WIDTHS | {"first_name": 50}
    assert "users.first_name is narrower than VARCHAR(100)" in str(log_lines)
