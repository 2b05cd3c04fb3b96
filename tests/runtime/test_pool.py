"""The pool: how many connections there are, which one goes out, and which one is never used again."""

import os
import threading
import time
from contextlib import closing

import pytest

import db
from db import Cursor, Database, DatabaseUnavailable, PoolExhausted
from runtime import connection
from tests.support import tcp_proxy
from tests.support.database import run_sql
from tests.support.queries import at_once, backend_pid, count_connections, scalar


def test_connection_is_used_again(database: Database) -> None:
    first = database.read(backend_pid)
    second = database.read(backend_pid)

    assert first == second


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

    assert count_connections(url) == 2


def test_exhausted_pool_is_refused_after_a_bounded_wait(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "WAIT_SECONDS", 0.1)
    database = Database(url, pool_size=2)
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
    database.close()


def test_connection_that_the_server_ended_is_replaced_before_it_is_used(url: str, database: Database) -> None:
    pid = database.write(backend_pid)
    run_sql(url, "SELECT pg_terminate_backend(%s, 5000)", pid)

    assert database.write(backend_pid) != pid


def test_idle_connections_beside_one_that_broke_are_not_used_again(database: Database) -> None:
    before: set[object] = set()

    def remember(cur: Cursor) -> None:
        before.add(scalar(cur, "SELECT pg_backend_pid() FROM pg_sleep(0.2)"))

    at_once([database.read] * 2, remember)
    with pytest.raises(DatabaseUnavailable):
        database.write(scalar, "SELECT pg_terminate_backend(pg_backend_pid())")

    assert len(before) == 2
    assert database.write(backend_pid) not in before


def test_flows_that_a_nat_forgot_cost_a_short_wait(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENT_SECONDS", 0.0)
    calls = []

    def ask(cur: Cursor) -> None:
        calls.append(scalar(cur))

    with tcp_proxy.before(url) as nat, closing(Database(tcp_proxy.moved(url, nat.port))) as database:
        at_once([database.read, database.write] * 3, lambda cur: scalar(cur, "SELECT 1 FROM pg_sleep(0.1)"))
        nat.forget()
        started = time.monotonic()
        at_once([database.read, database.write] * 3, ask)
        seconds = time.monotonic() - started

    assert calls == [1] * 6  # nothing was done twice
    assert seconds < db.OPERATION_SECONDS


def test_silent_connection_that_still_answers_is_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SILENT_SECONDS", 0.0)

    assert database.read(backend_pid) == database.write(backend_pid)


@pytest.mark.parametrize("limit", ["AGE_SECONDS", "IDLE_SECONDS"])
def test_connection_that_is_too_old_or_was_idle_too_long_is_not_used_again(
    database: Database, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(connection, limit, -1.0)

    assert database.read(backend_pid) != database.read(backend_pid)


def test_connections_that_only_a_burst_needed_are_closed(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once([database.read] * 2, lambda cur: scalar(cur, "SELECT 1 FROM pg_sleep(0.2)"))
    assert count_connections(url) == 2
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.5)
    deadline = time.monotonic() + 10

    while count_connections(url) > 1:
        assert time.monotonic() < deadline
        database.read(scalar)


def test_error_in_a_statement_gives_the_connection_back(url: str, database: Database) -> None:
    for _ in range(5):
        with pytest.raises(DatabaseUnavailable):
            database.read(scalar, "SELECT nonsense")

    assert count_connections(url) == 1


def test_error_in_the_caller_gives_the_connection_back(url: str, database: Database) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            database.read(lambda cur: 1 / 0)

    assert count_connections(url) == 1


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
