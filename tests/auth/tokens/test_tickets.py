"""The SQL on the table auth_tickets: live tickets of a user side by side, each used once."""

import re
from datetime import datetime, timedelta, timezone

import pytest

from auth.tokens import tickets
from auth.tokens.tickets import Bearer, Ticket
from db import Database
from tests.support.database import Sql, held_open, run_sql
from tests.support.races import at_once

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)
LAST = NOW + timedelta(seconds=300) - timedelta(microseconds=1)
LATER = NOW + timedelta(seconds=300)
ADA, BOB = 1, 2
HASH = "$2b$04$a hash"


@pytest.fixture(scope="module", autouse=True)
def schema(url: str) -> None:
    database = Database(url)
    database.apply_schema()
    database.close()
    for user_id, name in ((ADA, "ada"), (BOB, "bob")):
        statement = "INSERT INTO users (id, username, email, password) VALUES (%s, %s, %s, %s)"
        run_sql(url, statement, user_id, name, f"{name}@example.com", HASH)


@pytest.fixture
def sql(url: str) -> Sql:
    run_sql(url, "DELETE FROM auth_tickets")
    return lambda statement, *parameters: run_sql(url, statement, *parameters)


@pytest.fixture
def token(database: Database, sql: Sql) -> str:
    """A ticket of ada that lives until LATER."""
    return issue(database)


def try_issue(database: Database, user_id: int = ADA, password_hash: str = HASH) -> Ticket | None:
    return database.write(tickets.issue, user_id, password_hash=password_hash, now=NOW)


def issue(database: Database, user_id: int = ADA, password_hash: str = HASH) -> str:
    ticket = try_issue(database, user_id, password_hash)
    assert ticket is not None
    return ticket.token


def find(database: Database, token: str, *, now: datetime = NOW) -> Bearer | None:
    return database.read(tickets.find, token, now=now)


def consume(database: Database, token: str, *, now: datetime = NOW) -> bool:
    return database.write(tickets.consume, token, now=now)


def test_ticket_is_random_opaque_and_hidden(database: Database, sql: Sql) -> None:
    issued = [try_issue(database) for _ in range(20)]

    texts = {ticket.token for ticket in issued if ticket}
    assert len(texts) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", text) for text in texts)
    assert repr(issued[0]) == "Ticket(expires_in=300)"


def test_table_has_hashes_alone(database: Database, sql: Sql, token: str) -> None:
    [(row,)] = sql("SELECT auth_tickets::text FROM auth_tickets")

    assert token not in row
    assert HASH not in row
    assert sql("SELECT length(token_hash), length(proof) FROM auth_tickets") == [(32, 32)]


def test_ticket_is_bound_to_the_hash_that_was_proved(database: Database, token: str) -> None:
    bearer = find(database, token)

    assert bearer is not None
    assert bearer.user_id == ADA
    assert bearer.is_bound_to(HASH)
    assert not bearer.is_bound_to(f"{HASH} ")


def test_ticket_with_a_damaged_proof_is_bound_to_nothing(database: Database, sql: Sql, token: str) -> None:
    sql("UPDATE auth_tickets SET proof = ''")

    bearer = find(database, token)

    assert bearer is not None
    assert not bearer.is_bound_to(HASH)


@pytest.mark.parametrize(("user_id", "password_hash"), [(ADA, "another"), (ADA, ""), (99, HASH)])
def test_no_ticket_without_a_user_who_has_the_hash(
    database: Database, sql: Sql, user_id: int, password_hash: str
) -> None:
    assert try_issue(database, user_id, password_hash) is None
    assert sql("SELECT count(*) FROM auth_tickets") == [(0,)]


def test_ticket_is_consumed_once(database: Database, token: str) -> None:
    assert [consume(database, token) for _ in range(3)] == [True, False, False]
    assert find(database, token) is None


def test_ticket_that_is_consumed_by_many_at_once_is_consumed_by_one(database: Database, token: str) -> None:
    consumed = at_once(*[lambda: consume(database, token)] * 8)

    assert sorted(consumed) == [False] * 7 + [True]


@pytest.mark.parametrize(("now", "is_live"), [(LAST, True), (LATER, False)])
def test_ticket_lives_for_five_minutes(database: Database, token: str, now: datetime, is_live: bool) -> None:
    assert (find(database, token, now=now) is not None) == is_live
    assert consume(database, token, now=now) == is_live


@pytest.mark.parametrize("text", ["", "x", "\0", "\ud800", "x" * 60_000, "' OR TRUE --", "%s"])
def test_any_text_may_be_asked_for(database: Database, token: str, text: str) -> None:
    assert find(database, text) is None
    assert not consume(database, text)


def test_tickets_of_a_user_are_independent(database: Database, token: str) -> None:
    newer = issue(database)

    assert [consume(database, each) for each in (newer, token)] == [True, True]


def test_void_ends_all_tickets_of_a_user(database: Database, token: str) -> None:
    of_ada, of_bob = [token, issue(database)], issue(database, BOB)

    database.write(tickets.void, ADA)

    assert not any(consume(database, each) for each in of_ada)
    assert consume(database, of_bob)


def test_purge_deletes_what_has_expired(database: Database, sql: Sql, token: str) -> None:
    issue(database)

    removed = [database.write(tickets.purge, now=now, at_most=10) for now in (LAST, LATER)]

    assert removed == [0, 2]


def test_purge_deletes_no_more_than_it_is_told(database: Database, sql: Sql) -> None:
    for _ in range(4):
        issue(database)

    assert [database.write(tickets.purge, now=LATER, at_most=3) for _ in range(3)] == [3, 1, 0]


def test_purge_waits_for_no_lock(database: Database, url: str, sql: Sql, token: str) -> None:
    with held_open(url, "SELECT FROM auth_tickets FOR UPDATE"):
        assert database.write(tickets.purge, now=LATER, at_most=10) == 0
