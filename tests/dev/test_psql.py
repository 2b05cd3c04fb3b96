"""`make psql`: which database it opens, and why it opens none."""

import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.actor import Actor
from tests.support.database import MakeDatabase
from tests.support.development import assert_refused, psql, serving

pytestmark = pytest.mark.slow


def test_psql_opens_the_database_whether_the_service_runs_or_not(used_tree: Path) -> None:
    with serving(used_tree, BCRYPT_ROUNDS="4") as started:
        Actor(started.client).register()
        beside = psql(used_tree, "SELECT 'user: ' || username FROM users;")
        started.stop(signal.SIGINT)
    alone = psql(used_tree, "SELECT 'user: ' || username FROM users;")

    assert "user: ada" in beside.stdout, beside.stderr
    assert "user: ada" in alone.stdout, alone.stderr
    assert not (used_tree / ".data/postgres/postmaster.pid").exists()


def test_psql_opens_the_database_of_db_url(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()
    (tree / ".data/postgres").mkdir(parents=True)
    (tree / ".data/postgres/PG_VERSION").write_text("9\n")  # of no concern here

    done = psql(tree, "SELECT 'database: ' || current_database();", DB_URL=url)

    assert f"database: {urlsplit(url).path[1:]}" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2/word@localhost/db",
        "postgresql://me:hunter2@pw@localhost/db",
        "postgresql://me:hunter2@[localhost:1/x",
        "postgresql://me:hunt%er2@localhost/x",
    ],
)
def test_psql_with_a_bad_db_url_is_a_sentence_without_the_password(tree: Path, url: str) -> None:
    done = psql(tree, "", DB_URL=url)

    assert_refused(done, "DB_URL must be a PostgreSQL URL")
    assert not re.search("hunt|er2|pw@", done.stdout + done.stderr)


def test_psql_before_the_first_run_is_a_sentence(tree: Path) -> None:
    assert_refused(psql(tree, ""), "There is no database yet: make run makes one.")
