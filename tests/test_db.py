"""The data layer: the pool, lost connections, deadlines, and what reaches the caller of a failure."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import cursor

import db
import embedded_postgres
from conftest import MakeDatabase, run_sql
from db import Database, transaction
from pool import DatabaseUnavailable, PoolExhausted


def scalar(cur: cursor, statement: str = "SELECT 1") -> object:
    cur.execute(statement)
    row = cur.fetchone()
    assert row
    return row[0]


def backend_pid(cur: cursor) -> object:
    return scalar(cur, "SELECT pg_backend_pid()")


@pytest.fixture(scope="module")
def url(make_database: MakeDatabase) -> str:
    return make_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, pool_size=2)
    yield database
    database.close()


def connections(url: str) -> int:
    """Return how many connections this service holds to the database."""
    statement = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'user-service' AND datname = current_database()"
    )
    return int(run_sql(url, statement)[0][0])


def test_connection_is_used_again(database: Database) -> None:
    first = database.read(backend_pid)
    second = database.read(backend_pid)

    assert first == second


def test_session_is_in_utc_and_utf8_with_a_statement_timeout(database: Database) -> None:
    assert database.read(scalar, "SHOW timezone") == "UTC"
    assert database.read(scalar, "SHOW client_encoding") == "UTF8"
    assert database.read(scalar, "SHOW statement_timeout") == "3s"


def test_options_in_the_url_are_kept(url: str) -> None:
    database = Database(f"{url}{'&' if '?' in url else '?'}options=-c%20work_mem%3D1MB")

    assert database.read(scalar, "SHOW work_mem") == "1MB"
    assert database.read(scalar, "SHOW timezone") == "UTC"
    database.close()


def test_pool_never_opens_more_than_its_size(url: str, database: Database) -> None:
    barrier = threading.Barrier(8)

    def query() -> None:
        barrier.wait()
        database.read(scalar, "SELECT 1 FROM pg_sleep(0.05)")

    threads = [threading.Thread(target=query) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert connections(url) == 2


def test_exhausted_pool_is_refused_after_a_bounded_wait(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "WAIT_SECONDS", 0.1)
    database.read(scalar)
    held = threading.Barrier(3)
    holders = [
        threading.Thread(target=lambda: database.read(lambda cur: (held.wait(), held.wait())))
        for _ in range(2)
    ]
    for holder in holders:
        holder.start()
    held.wait()

    with pytest.raises(PoolExhausted):
        database.read(scalar)
    held.wait()
    for holder in holders:
        holder.join()

    assert database.read(scalar) == 1


def test_connection_that_the_server_ended_is_replaced_before_it_is_used(url: str, database: Database) -> None:
    pid = database.write(backend_pid)
    run_sql(url, "SELECT pg_terminate_backend(%s, 5000)", pid)

    assert database.write(backend_pid) != pid


def test_read_whose_connection_breaks_is_retried_once(database: Database) -> None:
    calls: list[object] = []

    def end_own_connection(cur: cursor) -> object:
        calls.append(backend_pid(cur))
        if len(calls) == 1:
            cur.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return scalar(cur)

    assert database.read(end_own_connection) == 1
    assert len(calls) == 2


def test_write_whose_connection_breaks_is_not_retried(database: Database) -> None:
    calls: list[object] = []

    def end_own_connection(cur: cursor) -> None:
        calls.append(backend_pid(cur))
        cur.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseUnavailable):
        database.write(end_own_connection)
    assert len(calls) == 1


@pytest.mark.parametrize("operation", ["read", "write"])
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"], ids=["serialization", "deadlock"])
@pytest.mark.parametrize("times", [1, 2])
def test_transaction_that_postgresql_undoes_is_repeated_once(
    database: Database, operation: str, sqlstate: str, times: int
) -> None:
    calls = []

    def undone(cur: cursor) -> int:
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


def test_error_in_a_statement_gives_the_connection_back(url: str, database: Database) -> None:
    for _ in range(5):
        with pytest.raises(DatabaseUnavailable):
            database.read(scalar, "SELECT nonsense")

    assert connections(url) == 1


def test_error_in_the_caller_gives_the_connection_back(url: str, database: Database) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            database.read(lambda cur: 1 / 0)

    assert connections(url) == 1


def test_slow_statement_is_ended_in_time_and_its_connection_kept(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "STATEMENT_SECONDS", 0.2)
    database = Database(url)
    pid = database.read(backend_pid)

    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="statement timeout"):
        database.read(scalar, "SELECT pg_sleep(30)")

    assert time.monotonic() - started < 2
    assert database.read(backend_pid) == pid
    database.close()


@pytest.mark.parametrize("operation", ["read", "write", "ping"])
def test_frozen_server_is_refused_in_bounded_time_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr(db, "OPERATION_SECONDS", 0.3)
    monkeypatch.setattr(db, "PING_SECONDS", 0.3)
    with embedded_postgres.running(tmp_path / "postgres") as server:
        database = Database(server.url)
        call = getattr(database, operation)
        pid = call(backend_pid)
        os.kill(pid, signal.SIGSTOP)
        os.kill(server.pid, signal.SIGSTOP)

        for _ in range(2):  # a connection that stops answering, then a server that accepts and never answers
            started = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match="in time"):
                call(scalar)
            assert time.monotonic() - started < 1
        os.kill(pid, signal.SIGCONT)
        os.kill(server.pid, signal.SIGCONT)
        monkeypatch.undo()

        assert call(scalar) == 1
        database.close()


def test_transaction_that_fails_leaves_nothing(url: str, database: Database) -> None:
    run_sql(url, "CREATE TABLE notes (note text)")

    def insert(cur: cursor, *, fail: bool) -> None:
        with transaction(cur):
            cur.execute("INSERT INTO notes VALUES ('kept')")
            if fail:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(insert, fail=True)
    assert run_sql(url, "SELECT count(*) FROM notes") == [(0,)]
    database.write(insert, fail=False)
    assert run_sql(url, "SELECT count(*) FROM notes") == [(1,)]


def test_fork_opens_its_own_connections(database: Database) -> None:
    parents = database.read(backend_pid)
    reader, writer = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(writer, str(database.read(backend_pid)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    childs = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)

    assert childs != parents
    assert database.read(backend_pid) == parents


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
