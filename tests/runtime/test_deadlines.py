"""Deadlines: a Database answers in time, and PostgreSQL carries out no write after its deadline."""

import os
import signal
import time
from pathlib import Path

import pytest

import db
from db import OPERATION_SECONDS, Cursor, Database, DatabaseUnavailable, StatementRefused, transaction
from dev import postgres as embedded_postgres
from runtime.connection import Connection
from runtime.deadline_cursor import DeadlineCursor
from tests.support.database import held_open, run_sql
from tests.support.queries import backend_pid, scalar, wait_until


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


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["read", "write", "ping"])
def test_frozen_server_is_refused_in_bounded_time_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    with embedded_postgres.running(tmp_path / "postgres") as server:
        database = Database(server.url)
        call = getattr(database, operation)
        pid = call(backend_pid)  # applies the schema first
        monkeypatch.setattr(db, "OPERATION_SECONDS", 0.3)
        monkeypatch.setattr(db, "PING_SECONDS", 0.3)
        os.kill(pid, signal.SIGSTOP)
        os.kill(server.pid, signal.SIGSTOP)

        for _ in range(2):  # first an open connection is silent, then a new one that the kernel accepts
            started = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match="in time"):
                call(scalar)
            assert time.monotonic() - started < 1
        os.kill(pid, signal.SIGCONT)
        os.kill(server.pid, signal.SIGCONT)
        monkeypatch.undo()

        assert call(scalar) == 1
        database.close()


def note(cur: Cursor) -> int:
    cur.execute("INSERT INTO notes VALUES (%s)", ("kept: 100%",))
    return cur.rowcount


@pytest.mark.parametrize("transactional", [False, True], ids=["statement", "transaction"])
def test_write_that_reached_a_frozen_backend_is_not_carried_out_when_it_wakes(
    notes: str, database: Database, monkeypatch: pytest.MonkeyPatch, *, transactional: bool
) -> None:
    def freeze_and_commit(cur: Cursor) -> None:
        with transaction(cur):
            note(cur)
            os.kill(pid, signal.SIGSTOP)

    assert database.write(note) == 1
    pid = database.write(backend_pid)
    monkeypatch.setattr(db, "OPERATION_SECONDS", 0.3)

    if not transactional:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(DatabaseUnavailable, match="in time"):
        database.write(freeze_and_commit if transactional else note)
    os.kill(pid, signal.SIGCONT)
    wait_until(
        notes, "NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", pid
    )  # it has read everything that was sent

    assert run_sql(notes, "SELECT note FROM notes") == [("kept: 100%",)]


def test_write_that_waits_for_a_lock_ends_with_its_deadline(
    notes: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = database.write(backend_pid)
    monkeypatch.setattr(db, "OPERATION_SECONDS", 0.3)

    with held_open(notes, "LOCK TABLE notes"):
        with pytest.raises(DatabaseUnavailable):
            database.write(note)
        waiting = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        wait_until(
            notes, f"NOT EXISTS ({waiting})", pid, seconds=2
        )  # less than the session's own limit of 3 s

    assert run_sql(notes, "SELECT note FROM notes") == []


@pytest.mark.parametrize("transactional", [False, True], ids=["statement", "transaction"])
@pytest.mark.parametrize("seconds", [-3600, 3600, 10**9])
def test_clock_of_the_database_may_be_set(
    notes: str, database: Database, seconds: int, *, transactional: bool
) -> None:
    def in_transaction(cur: Cursor) -> int:
        with transaction(cur):
            return note(cur)

    def set_clock(cur: Cursor) -> int:
        assert isinstance(cur.connection, Connection)
        assert cur.connection.clock_offset
        cur.connection.clock_offset -= seconds
        return backend_pid(cur)

    database.write(scalar)
    pid = database.read(set_clock)

    assert database.write(in_transaction if transactional else note) == 1
    assert database.write(backend_pid) == pid
    assert run_sql(notes, "SELECT count(*) FROM notes") == [(1,)]


def test_write_keeps_the_limit_of_a_statement(database: Database) -> None:
    assert database.write(scalar, "SHOW statement_timeout") == "3s"
    assert database.read(scalar, "SHOW statement_timeout") == "3s"


def test_transaction_that_goes_on_too_late_leaves_nothing(
    notes: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the database is set forward in the transaction: at the COMMIT it is past the deadline."""

    def set_clock(cur: Cursor) -> None:
        with transaction(cur):
            note(cur)
            assert isinstance(cur.connection, Connection)
            assert cur.connection.clock_offset
            cur.connection.clock_offset -= 3600

    with pytest.raises(DatabaseUnavailable, match="too late"):
        database.write(set_clock)

    assert run_sql(notes, "SELECT note FROM notes") == []
    assert database.write(note) == 1


def test_statement_that_is_late_by_a_clock_just_learned_is_refused(
    notes: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow answer about the clock moves the deadline forward, by the clock of the database."""
    learn = DeadlineCursor._learn_clock_offset
    slow = OPERATION_SECONDS + 1
    monkeypatch.setattr(DeadlineCursor, "_learn_clock_offset", lambda self: learn(self) - slow)

    with pytest.raises(DatabaseUnavailable, match="too late"):
        database.write(note)

    assert run_sql(notes, "SELECT note FROM notes") == []


def test_error_of_a_value_is_not_taken_for_a_late_statement(database: Database) -> None:
    with pytest.raises(StatementRefused, match="work_mem"):
        database.write(scalar, "SELECT set_config('work_mem', '-5', true)")
