"""The data layer: the pool, lost connections, deadlines, and what reaches the caller of a failure."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from psycopg2.extensions import cursor, parse_dsn

import db
from db import OPERATION_SECONDS, Database, transaction
from dev import postgres as embedded_postgres
from runtime import connection, pool
from runtime.connection import Connection
from runtime.deadline_cursor import DeadlineCursor
from runtime.faults import DatabaseUnavailable, ReadOnly, StatementRefused
from runtime.pool import PoolExhausted
from tests.support import tcp_proxy
from tests.support.database import MakeDatabase, held_open, run_sql


def scalar(cur: cursor, statement: str = "SELECT 1") -> object:
    cur.execute(statement)
    row = cur.fetchone()
    assert row
    return row[0]


def backend_pid(cur: cursor) -> int:
    pid = scalar(cur, "SELECT pg_backend_pid()")
    assert isinstance(pid, int)
    return pid


@pytest.fixture(scope="module")
def url(make_database: MakeDatabase) -> str:
    return make_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, pool_size=2)
    yield database
    database.close()


def wait_until(url: str, condition: str, *parameters: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while run_sql(url, f"SELECT {condition}", *parameters) != [(True,)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def notes(url: str) -> Iterator[str]:
    """The URL of a database with an empty table `notes`."""
    run_sql(url, "CREATE TABLE notes (note text)")
    yield url
    run_sql(url, "DROP TABLE notes")


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


@pytest.mark.parametrize("operation", ["read", "write", "ping"])
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


def raise_error(cur: cursor, condition: str) -> None:
    cur.execute(f"DO $$BEGIN RAISE {condition}; END$$")


def test_write_that_a_read_only_server_refused_goes_to_a_fresh_connection(database: Database) -> None:
    pids: list[object] = []

    def store(cur: cursor) -> None:
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

    def store(cur: cursor) -> None:
        pids.add(backend_pid(cur))
        cur.execute("CREATE TABLE refused ()")

    with closing(Database(url)) as database:
        database.apply_schema()
        run_sql(url, f"ALTER DATABASE {parse_dsn(url)['dbname']} SET default_transaction_read_only = on")
        for _ in range(10):
            with pytest.raises(ReadOnly):
                database.write(store)

    assert len(pids) == 2


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

    def read(cur: cursor) -> None:
        pids.append(backend_pid(cur))
        if len(pids) < 2:
            raise_error(cur, condition)

    getattr(database, operation)(read)

    assert len(set(pids)) == len(pids) == 2


def test_idle_connections_beside_one_that_broke_are_not_used_again(database: Database) -> None:
    before: set[object] = set()

    def remember(cur: cursor) -> None:
        before.add(scalar(cur, "SELECT pg_backend_pid() FROM pg_sleep(0.2)"))

    at_once([database.read] * 2, remember)
    with pytest.raises(DatabaseUnavailable):
        database.write(scalar, "SELECT pg_terminate_backend(pg_backend_pid())")

    assert len(before) == 2
    assert database.write(backend_pid) not in before


def test_flows_that_a_nat_forgot_cost_a_short_wait(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENT_SECONDS", 0.0)
    calls = []

    def ask(cur: cursor) -> None:
        calls.append(scalar(cur))

    with tcp_proxy.before(url) as nat, closing(Database(tcp_proxy.moved(url, nat.port))) as database:
        at_once([database.read, database.write] * 3, lambda cur: scalar(cur, "SELECT 1 FROM pg_sleep(0.1)"))
        nat.forget()
        started = time.monotonic()
        at_once([database.read, database.write] * 3, ask)
        seconds = time.monotonic() - started

    assert calls == [1] * 6  # nothing was done twice
    assert seconds < db.OPERATION_SECONDS


def at_once(operations: list[Callable[..., object]], query: Callable[[cursor], object]) -> None:
    """Run `query` by all operations at once, every one in a thread of its own."""
    with ThreadPoolExecutor(len(operations)) as threads:
        for done in [threads.submit(operation, query) for operation in operations]:
            done.result()


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
    assert connections(url) == 2
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.5)
    deadline = time.monotonic() + 10

    while connections(url) > 1:
        assert time.monotonic() < deadline
        database.read(scalar)


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


def test_transaction_that_fails_leaves_nothing(notes: str, database: Database) -> None:
    def insert(cur: cursor, *, fail: bool) -> None:
        with transaction(cur):
            cur.execute("INSERT INTO notes VALUES ('kept')")
            if fail:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(insert, fail=True)
    assert run_sql(notes, "SELECT count(*) FROM notes") == [(0,)]
    database.write(insert, fail=False)
    assert run_sql(notes, "SELECT count(*) FROM notes") == [(1,)]


def note(cur: cursor) -> int:
    cur.execute("INSERT INTO notes VALUES (%s)", ("kept: 100%",))
    return cur.rowcount


@pytest.mark.parametrize("transactional", [False, True], ids=["statement", "transaction"])
def test_write_that_reached_a_frozen_backend_is_not_carried_out_when_it_wakes(
    notes: str, database: Database, monkeypatch: pytest.MonkeyPatch, *, transactional: bool
) -> None:
    def freeze_and_commit(cur: cursor) -> None:
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
    wait_until(notes, "NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", pid)  # it reads to the end

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
        wait_until(notes, f"NOT EXISTS ({waiting})", pid, seconds=2)  # the session's own limit is longer

    assert run_sql(notes, "SELECT note FROM notes") == []


@pytest.mark.parametrize("transactional", [False, True], ids=["statement", "transaction"])
@pytest.mark.parametrize("seconds", [-3600, 3600, 10**9])
def test_clock_of_the_database_may_be_set(
    notes: str, database: Database, seconds: int, *, transactional: bool
) -> None:
    def in_transaction(cur: cursor) -> int:
        with transaction(cur):
            return note(cur)

    def set_clock(cur: cursor) -> int:
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
    """The clock of the database is set in the middle: it is ahead of the deadline at the COMMIT."""

    def set_clock(cur: cursor) -> None:
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
    """An answer that took long makes the deadline by the clock of the database an earlier one."""
    learn = DeadlineCursor._learn_clock_offset
    slow = OPERATION_SECONDS + 1
    monkeypatch.setattr(DeadlineCursor, "_learn_clock_offset", lambda self: learn(self) - slow)

    with pytest.raises(DatabaseUnavailable, match="too late"):
        database.write(note)

    assert run_sql(notes, "SELECT note FROM notes") == []


def test_error_of_a_value_is_not_taken_for_a_late_statement(database: Database) -> None:
    with pytest.raises(StatementRefused, match="work_mem"):
        database.write(scalar, "SELECT set_config('work_mem', '-5', true)")


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
