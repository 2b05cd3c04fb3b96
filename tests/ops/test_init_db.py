"""`flask --app app init-db`, run as an operator runs it."""

import subprocess
from pathlib import Path

import pytest

from tests.support import SECRET_KEY
from tests.support.database import MakeDatabase, run_sql
from tests.support.development import NO_DATABASE, assert_refused, run_python
from tests.support.service import copy_code


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the image has."""
    return copy_code(tmp_path / "code")


def init_db(tree: Path, url: str) -> "subprocess.CompletedProcess[str]":
    return run_python(tree, "-m", "flask", "--app", "app", "init-db", DB_URL=url, SECRET_KEY=SECRET_KEY)


def test_init_db_makes_the_tables_and_may_run_again(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()

    first = init_db(tree, url)
    run_sql(url, "INSERT INTO users (username, email, password) VALUES ('ada', 'ada@example.com', '')")
    second = init_db(tree, url)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert run_sql(url, "SELECT username FROM users") == [("ada",)]


def test_init_db_mends_a_missing_index(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()
    init_db(tree, url)
    run_sql(url, "DROP INDEX users_email_lower_key")

    done = init_db(tree, url)

    assert done.returncode == 0
    assert run_sql(url, "SELECT to_regclass('users_email_lower_key') IS NOT NULL") == [(True,)]


def test_init_db_without_a_database_is_a_sentence(tree: Path) -> None:
    done = init_db(tree, NO_DATABASE)

    assert_refused(done, "cannot connect")
    assert "pw-in-url" not in done.stdout + done.stderr


def test_init_db_names_the_rows_that_differ_only_in_case(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(
        url,
        "CREATE TABLE users (id SERIAL PRIMARY KEY, username TEXT, email TEXT, password TEXT,"
        " first_name TEXT, last_name TEXT, created_at TIMESTAMP)",
    )
    run_sql(url, "INSERT INTO users (username, email) VALUES ('ada', 'a@x.org'), ('Ada', 'b@x.org')")

    done = init_db(tree, url)

    assert_refused(done, "differ only in case", "the usernames of users 1, 2")
