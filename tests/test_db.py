"""A Database: its sessions, its transactions, and what the caller learns when it cannot connect."""

import pytest

from db import Cursor, Database, DatabaseUnavailable, transaction
from tests.support.database import run_sql
from tests.support.queries import scalar


def test_session_is_in_utc_and_utf8_with_a_statement_timeout(database: Database) -> None:
    assert database.read(scalar, "SHOW timezone") == "UTC"
    assert database.read(scalar, "SHOW client_encoding") == "UTF8"
    assert database.read(scalar, "SHOW statement_timeout") == "3s"


def test_options_in_the_url_are_kept(url: str) -> None:
    database = Database(f"{url}{'&' if '?' in url else '?'}options=-c%20work_mem%3D1MB")

    assert database.read(scalar, "SHOW work_mem") == "1MB"
    assert database.read(scalar, "SHOW timezone") == "UTC"
    database.close()


def test_transaction_that_fails_leaves_nothing(notes: str, database: Database) -> None:
    def insert(cur: Cursor, *, fail: bool) -> None:
        with transaction(cur):
            cur.execute("INSERT INTO notes VALUES ('kept')")
            if fail:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(insert, fail=True)
    assert run_sql(notes, "SELECT count(*) FROM notes") == [(0,)]
    database.write(insert, fail=False)
    assert run_sql(notes, "SELECT count(*) FROM notes") == [(1,)]


@pytest.mark.parametrize(
    "bad_url",
    [
        pytest.param("postgresql://ada:hunter2@127.0.0.1:1/x", id="refused"),
        pytest.param("postgresql://ada:hunter2@/x?host=/nonexistent", id="no socket"),
    ],
)
def test_failure_to_connect_says_why_without_the_password(bad_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot connect") as caught:
        Database(bad_url).read(scalar)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "causes"),
    [
        pytest.param(
            "postgresql://127.0.0.1:1,127.0.0.1:2/x",
            ["127.0.0.1 port 1: Connection refused", "127.0.0.1 port 2: Connection refused"],
            id="two hosts",
        ),
        pytest.param(
            "postgresql://127.0.0.1:1/x?sslmode=no%0Asense", ["no sense"], id="a line end in a value"
        ),
    ],
)
def test_cause_is_one_whole_line(url: str, causes: list[str]) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        Database(url).read(scalar)

    assert [cause for cause in causes if cause not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
