"""What a Database does once more, on which connection, and what it never repeats."""

from contextlib import closing

import pytest
from psycopg2.extensions import parse_dsn

from db import Cursor, Database, DatabaseUnavailable, ReadOnly, transaction
from runtime import pool
from tests.support.database import MakeDatabase, run_sql
from tests.support.queries import backend_pid, scalar


def test_read_whose_connection_breaks_is_retried_once(database: Database) -> None:
    calls: list[object] = []

    def end_own_connection(cur: Cursor) -> object:
        calls.append(backend_pid(cur))
        if len(calls) == 1:
            cur.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return scalar(cur)

    assert database.read(end_own_connection) == 1
    assert len(calls) == 2


def test_write_whose_connection_breaks_is_not_retried(database: Database) -> None:
    calls: list[object] = []

    def end_own_connection(cur: Cursor) -> None:
        calls.append(backend_pid(cur))
        cur.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseUnavailable):
        database.write(end_own_connection)
    assert len(calls) == 1


@pytest.mark.parametrize("operation", ["read", "write", "ping"])
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"], ids=["serialization", "deadlock"])
@pytest.mark.parametrize("times", [1, 2])
def test_transaction_that_postgresql_undoes_is_repeated_once(
    database: Database, operation: str, sqlstate: str, times: int
) -> None:
    calls = []

    def undone(cur: Cursor) -> int:
        calls.append(backend_pid(cur))
        with transaction(cur):
            if len(calls) <= times:
                cur.execute(f"DO $$BEGIN RAISE 'undone' USING ERRCODE = '{sqlstate}'; END$$")
        return len(calls)

    if times == 1:
        assert getattr(database, operation)(undone) == 2
    else:
        with pytest.raises(DatabaseUnavailable, match="undone"):
            getattr(database, operation)(undone)
    assert calls == [calls[0]] * 2


def test_write_that_a_read_only_server_refused_goes_to_a_fresh_connection(database: Database) -> None:
    pids: list[object] = []

    def store(cur: Cursor) -> None:
        pids.append(backend_pid(cur))
        if len(pids) < 2:
            cur.execute("SET default_transaction_read_only = on")
        cur.execute("CREATE TABLE stored_on_a_fresh_connection ()")

    database.write(store)

    assert len(set(pids)) == len(pids) == 2


def test_database_that_is_read_only_for_everybody_is_not_connected_to_again_and_again(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "RENEW_SECONDS", 60.0)
    url = make_database()
    pids: set[object] = set()

    def store(cur: Cursor) -> None:
        pids.add(backend_pid(cur))
        cur.execute("CREATE TABLE refused ()")

    with closing(Database(url)) as database:
        database.apply_schema()
        run_sql(url, f"ALTER DATABASE {parse_dsn(url)['dbname']} SET default_transaction_read_only = on")
        for _ in range(10):
            with pytest.raises(ReadOnly):
                database.write(store)

    assert len(pids) == 2


def raise_error(cur: Cursor, condition: str) -> None:
    cur.execute(f"DO $$BEGIN RAISE {condition}; END$$")


@pytest.mark.parametrize(
    ("operation", "condition"),
    [
        *(("read", "out_of_memory"), ("read", "connection_failure"), ("read", "io_error")),
        *(("write", "disk_full"), ("write", "io_error")),  # nothing was changed
    ],
)
def test_connections_to_a_server_in_trouble_are_not_used_again(
    database: Database, operation: str, condition: str
) -> None:
    pids: list[object] = []

    def read(cur: Cursor) -> None:
        pids.append(backend_pid(cur))
        if len(pids) < 2:
            raise_error(cur, condition)

    getattr(database, operation)(read)

    assert len(set(pids)) == len(pids) == 2
