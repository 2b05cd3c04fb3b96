"""The SQL on the table auth_one_time_tokens: one live token of a user for each purpose, used once."""

import re
from datetime import datetime, timedelta, timezone

import pytest

from auth.tokens import one_time
from auth.tokens.one_time import RESET_PASSWORD, VERIFY_EMAIL, Owner
from db import Database
from tests.support.database import Sql, held_open, run_sql
from tests.support.races import at_once

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)
LATER = NOW + timedelta(seconds=1800)
ADA, BOB = Owner(1, "ada@example.com"), Owner(2, "bob@example.com")
USER = "INSERT INTO users (id, username, email, password) VALUES (%s, %s, %s, '-')"


@pytest.fixture(scope="module", autouse=True)
def schema(url: str) -> None:
    database = Database(url)
    database.apply_schema()
    database.close()
    for owner, name in ((ADA, "ada"), (BOB, "bob")):
        run_sql(url, USER, owner.user_id, name, owner.email)


@pytest.fixture
def sql(url: str) -> Sql:
    run_sql(url, "DELETE FROM auth_one_time_tokens")
    return lambda statement, *parameters: run_sql(url, statement, *parameters)


@pytest.fixture
def token(database: Database, sql: Sql) -> str:
    """A token that lets ada reset the password until LATER."""
    return store(database)


def store(
    database: Database, owner: Owner = ADA, *, purpose: str = RESET_PASSWORD, expires_at: datetime = LATER
) -> str:
    token = one_time.new()
    database.write(one_time.replace, token, owner, purpose=purpose, expires_at=expires_at)
    return token


def find(
    database: Database, token: str, *, purpose: str = RESET_PASSWORD, now: datetime = NOW
) -> Owner | None:
    return database.read(one_time.find, token, purpose=purpose, now=now)


def consume(
    database: Database,
    token: str,
    owner: Owner = ADA,
    *,
    purpose: str = RESET_PASSWORD,
    now: datetime = NOW,
) -> bool:
    return database.write(one_time.consume, token, owner, purpose=purpose, now=now)


def test_tokens_are_random_texts_for_an_url() -> None:
    tokens = {one_time.new() for _ in range(1000)}

    assert len(tokens) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_stored_token_is_found_with_its_owner(database: Database, token: str) -> None:
    assert find(database, token) == ADA


def test_table_has_the_hash_of_a_token_alone(database: Database, sql: Sql, token: str) -> None:
    [(row,)] = sql("SELECT auth_one_time_tokens::text FROM auth_one_time_tokens")

    assert token not in row
    assert sql("SELECT length(token_hash) FROM auth_one_time_tokens") == [(32,)]


def test_token_is_consumed_once(database: Database, token: str) -> None:
    assert [consume(database, token) for _ in range(3)] == [True, False, False]
    assert find(database, token) is None


def test_finding_a_token_does_not_consume_it(database: Database, token: str) -> None:
    assert [find(database, token) for _ in range(3)] == [ADA] * 3
    assert consume(database, token)


def test_token_that_is_consumed_by_many_at_once_is_consumed_by_one(database: Database, token: str) -> None:
    consumed = at_once(*[lambda: consume(database, token)] * 8)

    assert sorted(consumed) == [False] * 7 + [True]


@pytest.mark.parametrize(("now", "is_live"), [(LATER - timedelta(microseconds=1), True), (LATER, False)])
def test_token_lives_until_it_expires(database: Database, token: str, now: datetime, is_live: bool) -> None:
    assert find(database, token, now=now) == (ADA if is_live else None)
    assert consume(database, token, now=now) == is_live


def test_token_is_good_for_its_purpose_alone(database: Database, token: str) -> None:
    assert find(database, token, purpose=VERIFY_EMAIL) is None
    assert not consume(database, token, purpose=VERIFY_EMAIL)
    assert consume(database, token)


@pytest.mark.parametrize(
    "owner",
    [
        BOB,
        Owner(ADA.user_id, BOB.email),
        Owner(BOB.user_id, ADA.email),
        Owner(ADA.user_id, "ADA@example.com"),
    ],
)
def test_token_is_consumed_for_its_owner_alone(database: Database, token: str, owner: Owner) -> None:
    assert not consume(database, token, owner)
    assert consume(database, token)


@pytest.mark.parametrize("text", ["", "x", "\0", "\ud800", "x" * 60_000, "' OR TRUE --", "%s"])
def test_any_text_may_be_asked_for(database: Database, token: str, text: str) -> None:
    assert find(database, text) is None
    assert not consume(database, text)


def test_newer_token_takes_the_place_of_the_older_one(database: Database, sql: Sql, token: str) -> None:
    newer = store(database, Owner(ADA.user_id, "countess@example.com"))

    assert find(database, token) is None
    assert find(database, newer) == Owner(ADA.user_id, "countess@example.com")
    assert sql("SELECT count(*) FROM auth_one_time_tokens") == [(1,)]


def test_newer_token_can_be_used_after_an_older_one_was(database: Database, token: str) -> None:
    consume(database, token)

    assert consume(database, store(database))


def test_tokens_of_other_purposes_and_users_stay(database: Database, token: str) -> None:
    others = [store(database, purpose=VERIFY_EMAIL), store(database, BOB)]

    newer = store(database)

    assert find(database, others[0], purpose=VERIFY_EMAIL) == ADA
    assert (find(database, others[1]), find(database, newer)) == (BOB, ADA)


def test_many_tokens_stored_at_once_leave_one(database: Database, sql: Sql) -> None:
    tokens = at_once(*[lambda: store(database)] * 8)

    assert [find(database, each) for each in tokens].count(ADA) == 1


def test_void_ends_all_tokens_of_a_user(database: Database, sql: Sql) -> None:
    of_ada = [store(database, purpose=purpose) for purpose in (RESET_PASSWORD, VERIFY_EMAIL)]
    of_bob = store(database, BOB)

    database.write(one_time.void, ADA.user_id)

    assert not any(consume(database, each, purpose=VERIFY_EMAIL) for each in of_ada)
    assert not any(consume(database, each) for each in of_ada)
    assert find(database, of_bob) == BOB


def test_tokens_go_with_their_user(database: Database, sql: Sql) -> None:
    sql(USER, 3, "eve", "eve@example.com")
    store(database, Owner(3, "eve@example.com"))

    sql("DELETE FROM users WHERE id = 3")

    assert sql("SELECT user_id FROM auth_one_time_tokens") == []


def test_token_of_nobody_is_not_stored(database: Database, sql: Sql) -> None:
    with pytest.raises(Exception, match="user_id"):
        store(database, Owner(99, "nobody@example.com"))


def test_purge_deletes_what_has_expired(database: Database, sql: Sql) -> None:
    store(database, expires_at=NOW)
    live = store(database, BOB, expires_at=NOW + timedelta(microseconds=1))

    removed = database.write(one_time.purge, now=NOW, at_most=10)

    assert removed == 1
    assert find(database, live) == BOB


def test_purge_deletes_no_more_than_it_is_told(database: Database, sql: Sql) -> None:
    for owner in (ADA, BOB):
        for purpose in (RESET_PASSWORD, VERIFY_EMAIL):
            store(database, owner, purpose=purpose)

    removed = [database.write(one_time.purge, now=LATER, at_most=3) for _ in range(3)]

    assert removed == [3, 1, 0]


def test_purge_waits_for_no_lock(database: Database, url: str, sql: Sql, token: str) -> None:
    with held_open(url, "SELECT FROM auth_one_time_tokens FOR UPDATE"):
        assert database.write(one_time.purge, now=LATER, at_most=10) == 0
