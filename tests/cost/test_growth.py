"""What a call costs does not grow with the table: a million sessions of 100,000 users."""

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection

from tests.support.actor import Actor
from tests.support.database import run_sql
from tests.support.recorder import RecordedService

pytestmark = pytest.mark.slow

MANY_USERS, MANY_SESSIONS = 100_000, 1_000_000
FEW_USERS, FEW_SESSIONS = 50, 500
INDEX_READS = {"Index Scan", "Bitmap Heap Scan"}

CALLS: dict[str, Callable[[RecordedService, Actor], object]] = {
    "me": lambda _, user: user.me(),
    "login": lambda _, user: user.try_log_in(),
    "refresh": lambda _, user: user.try_refresh(),
    "refresh twice": lambda _, user: (user.holding(user.pair).refresh(), user.refresh()),
    "list": lambda _, user: user.sessions(),
    "logout": lambda _, user: user.log_out(),
    "logout by refresh token": lambda _, user: user.log_out({"refresh_token": user.refresh_token}, token=""),
    "revoke one": lambda _, user: user.revoke_session(user.session_id),
    "revoke others": lambda _, user: user.revoke_other_sessions(),
    "change": lambda _, user: user.change_profile(firstName="A"),
    "purge": lambda service, _: service.app.test_cli_runner().invoke(args=["purge"]),
}


def fill(url: str, *, user_count: int, session_count: int) -> None:
    """Fill a database as a restore does: rows first, then keys and indexes from their own definitions."""
    run_sql(
        url,
        "INSERT INTO users (username, email, password)"
        " SELECT 'u' || n, 'u' || n || '@example.com', 'x' FROM generate_series(1, %s) AS n",
        user_count,
    )
    definitions = drop_keys_and_indexes(url)
    run_sql(
        url,
        "INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at, valid_until,"
        " expires_at, ip, user_agent) SELECT 2 + n %% %s, sha256(('h' || n)::bytea), sha256('t'::bytea),"
        " now(), now(), now() + interval '1 day' + n * interval '1 second', now() + interval '30 days',"
        " '203.0.113.9', 'Firefox' FROM generate_series(1, %s) AS n",
        user_count,
        session_count,
    )
    for definition in definitions:
        run_sql(url, definition)
    run_sql(url, "VACUUM ANALYZE")


def drop_keys_and_indexes(url: str) -> list[str]:
    """Drop those of auth_sessions and return the statements that make them again."""
    keys = run_sql(
        url,
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'auth_sessions'::regclass AND contype IN ('p', 'u', 'f')",
    )
    for name, _ in keys:
        run_sql(url, f"ALTER TABLE auth_sessions DROP CONSTRAINT {name}")
    indexes = run_sql(url, "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'auth_sessions'")
    for name, _ in indexes:
        run_sql(url, f"DROP INDEX {name}")
    return [
        *(f"ALTER TABLE auth_sessions ADD CONSTRAINT {name} {definition}" for name, definition in keys),
        *(definition for _, definition in indexes),
    ]


@pytest.fixture(scope="module")
def many(record: Callable[[str], RecordedService]) -> RecordedService:
    """A service with a million sessions."""
    service = record("many")
    fill(service.url, user_count=MANY_USERS, session_count=MANY_SESSIONS)
    return service


@pytest.fixture(scope="module")
def few(record: Callable[[str], RecordedService]) -> RecordedService:
    service = record("few")
    fill(service.url, user_count=FEW_USERS, session_count=FEW_SESSIONS)
    return service


def plan_nodes(url: str, statements: list[str]) -> list[dict[str, Any]]:
    """Return every node of the plans of some statements."""
    parts = [part for statement in statements for part in statement.split(";") if part.strip()]
    queries = [part for part in parts if part.split()[0] in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")]
    nodes: list[dict[str, Any]] = []
    pending = [run_sql(url, f"EXPLAIN (FORMAT JSON) {query}")[0][0][0]["Plan"] for query in queries]
    while pending:
        node = pending.pop()
        nodes.append(node)
        pending += node.get("Plans", [])
    return nodes


def recorded_call(service: RecordedService, name: str) -> tuple[list[str], int]:
    """Return the statements of a call in a new session, and the session's id."""
    user = service.ada.elsewhere()
    session_id = user.session_id
    return service.statements(lambda: CALLS[name](service, user)), session_id


@pytest.mark.parametrize("name", CALLS)
def test_call_among_a_million_sessions_reads_by_index(many: RecordedService, name: str) -> None:
    statements, _ = recorded_call(many, name)

    nodes = plan_nodes(many.url, statements)

    reads = {node["Node Type"] for node in nodes if node.get("Relation Name") in ("users", "auth_sessions")}
    assert reads & INDEX_READS
    assert reads <= INDEX_READS | {"Index Only Scan", "ModifyTable"}
    assert max(node["Plan Rows"] for node in nodes) < 1000


def seconds_of(conn: connection, statement: str) -> float:
    """Return how long a statement of one row takes, and undo it."""
    with conn.cursor() as cur:
        started = time.perf_counter()
        cur.execute(statement)
        seconds = time.perf_counter() - started
        assert cur.rowcount == 1
    conn.rollback()
    return seconds


def repeatable_statement(service: RecordedService, name: str) -> str:
    """Make a call and return its statement. The token of a refresh is put back, for the next time."""
    [statement], session_id = recorded_call(service, name)
    restore = "UPDATE auth_sessions SET token_hash = COALESCE(previous_hash, token_hash) WHERE id = %s"
    run_sql(service.url, restore, session_id)
    return statement


@pytest.mark.parametrize("name", ["me", "refresh"])
def test_million_sessions_do_not_change_the_cost(
    many: RecordedService, few: RecordedService, name: str
) -> None:
    of_many, of_few = repeatable_statement(many, name), repeatable_statement(few, name)
    seconds_of_many, seconds_of_few = [], []

    with closing(psycopg2.connect(many.url)) as to_many, closing(psycopg2.connect(few.url)) as to_few:
        for _ in range(300):
            seconds_of_many.append(seconds_of(to_many, of_many))
            seconds_of_few.append(seconds_of(to_few, of_few))

    assert statistics.median(seconds_of_many) / statistics.median(seconds_of_few) < 1.5
