"""The SQL on the table auth_second_factors: compare and swap, and the purge of setups."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest

from auth.principal import Principal
from auth.two_factor import factors
from auth.two_factor.factors import Factor
from db import Database
from runtime import clock
from tests.support.database import Sql, connected, held_open, run_sql
from tests.support.races import at_once

HASHES = tuple(bytes([n]) * 32 for n in range(10))
NOW = clock.now()


@pytest.fixture(scope="module")
def url(url: str) -> str:
    Database(url).apply_schema()
    return url


@pytest.fixture
def sql(url: str) -> Iterator[Sql]:
    run_sql(url, "DELETE FROM users")
    with connected(url) as run:
        yield run


@pytest.fixture
def principal(sql: Sql) -> Principal:
    [(user_id,)] = sql(
        "INSERT INTO users (username, email, password) VALUES ('ada', 'ada@example.com', 'h') RETURNING id"
    )
    return Principal(user_id, None, NOW, NOW)


def set_up(database: Database, principal: Principal, secret: bytes = b"secret", **changes: object) -> bool:
    fields = {"password_hash": "h", "expires_at": NOW + timedelta(minutes=10)} | changes
    return database.write(factors.set_up, principal, secret, **fields)  # type: ignore[arg-type]


def setup_of(database: Database, principal: Principal) -> Factor:
    state = database.read(factors.find_state, principal)
    assert state is not None
    assert state.setup is not None
    return state.setup


@pytest.fixture
def factor(database: Database, principal: Principal) -> Factor:
    """A factor in force; its newest code was of step 5."""
    set_up(database, principal)
    setup = setup_of(database, principal)
    assert database.write(factors.enable, principal, setup, step=5, recovery_hashes=HASHES)
    found = database.read(factors.find, principal.user_id)
    assert found is not None
    return found


def test_setup_is_not_in_force(database: Database, principal: Principal) -> None:
    assert set_up(database, principal)

    assert database.read(factors.find, principal.user_id) is None
    assert setup_of(database, principal) == Factor(principal.user_id, b"secret", -1, ())


def test_setup_for_a_hash_that_was_replaced_is_not_stored(
    database: Database, principal: Principal, sql: Sql
) -> None:
    assert not set_up(database, principal, password_hash="older")
    assert sql("SELECT * FROM auth_second_factors") == []


def test_setup_leaves_a_factor_in_force(database: Database, principal: Principal, factor: Factor) -> None:
    assert not set_up(database, principal, b"another")
    assert database.read(factors.find, principal.user_id) == factor


def test_state_of_a_user_who_is_gone_is_none(database: Database, principal: Principal, sql: Sql) -> None:
    sql("DELETE FROM users")

    assert database.read(factors.find_state, principal) is None
    assert not set_up(database, principal)


def test_setup_has_expired_at_its_end(database: Database, principal: Principal) -> None:
    set_up(database, principal, expires_at=NOW)

    state = database.read(factors.find_state, principal)

    assert state == factors.State(False, None)


def test_factor_in_force_is_what_enabled_it(database: Database, principal: Principal, factor: Factor) -> None:
    assert factor == Factor(principal.user_id, b"secret", 5, HASHES)
    assert database.read(factors.find_state, principal) == factors.State(True, None)


def test_setup_that_was_replaced_is_not_enabled(database: Database, principal: Principal) -> None:
    set_up(database, principal)
    older = setup_of(database, principal)
    set_up(database, principal, b"newer")

    assert not database.write(factors.enable, principal, older, step=5, recovery_hashes=HASHES)
    assert database.read(factors.find, principal.user_id) is None


def test_factor_is_enabled_once(database: Database, principal: Principal, factor: Factor) -> None:
    assert not database.write(factors.enable, principal, factor, step=9, recovery_hashes=HASHES[::-1])
    assert database.read(factors.find, principal.user_id) == factor


def test_step_is_used_once_and_none_before_it(database: Database, factor: Factor) -> None:
    used = [database.write(factors.use_step, factor, step) for step in (5, 7, 7, 6, 8)]

    assert used == [False, True, False, False, True]


def test_step_of_another_secret_is_not_used(database: Database, factor: Factor, sql: Sql) -> None:
    sql("UPDATE auth_second_factors SET secret = 'another'")

    assert not database.write(factors.use_step, factor, 7)


def test_step_of_a_setup_is_not_used(database: Database, principal: Principal) -> None:
    set_up(database, principal)

    assert not database.write(factors.use_step, setup_of(database, principal), 7)


def test_step_at_once_is_used_once(database: Database, factor: Factor) -> None:
    for step in range(10, 20):
        used = at_once(*[partial(database.write, factors.use_step, factor, step)] * 2)
        assert sorted(used) == [False, True]


def use_recovery_hash(database: Database, factor: Factor, index: int, recovery_hash: bytes) -> int | None:
    return database.write(factors.use_recovery_hash, factor.user_id, index=index, recovery_hash=recovery_hash)


@pytest.mark.parametrize("index", [0, 9])
def test_recovery_hash_is_used_once(database: Database, factor: Factor, index: int) -> None:
    used = [use_recovery_hash(database, factor, index, HASHES[index]) for _ in range(2)]

    found = database.read(factors.find, factor.user_id)
    assert used == [9, None]
    assert found is not None
    assert found.recovery_hashes == (*HASHES[:index], None, *HASHES[index + 1 :])


def test_recovery_hash_of_another_index_is_not_used(database: Database, factor: Factor) -> None:
    assert use_recovery_hash(database, factor, 0, HASHES[1]) is None
    assert use_recovery_hash(database, factor, 10, HASHES[1]) is None
    assert database.read(factors.find, factor.user_id) == factor


def test_recovery_hash_at_once_is_used_once(database: Database, factor: Factor) -> None:
    for index, recovery_hash in enumerate(HASHES):
        used = at_once(*[partial(use_recovery_hash, database, factor, index, recovery_hash)] * 2)
        assert set(used) == {9 - index, None}


@pytest.mark.parametrize("is_on", [True, False])
def test_remove_tells_whether_a_factor_was_in_force(
    database: Database, principal: Principal, request: pytest.FixtureRequest, sql: Sql, is_on: bool
) -> None:
    if is_on:
        request.getfixturevalue("factor")
    else:
        set_up(database, principal)

    assert database.write(factors.remove, principal.user_id) is is_on
    assert database.write(factors.remove, principal.user_id) is False
    assert sql("SELECT * FROM auth_second_factors") == []


def test_rows_of_a_user_who_is_deleted_are_gone(database: Database, factor: Factor, sql: Sql) -> None:
    sql("DELETE FROM users")

    assert sql("SELECT * FROM auth_second_factors") == []


ADD_SETUPS = """
    WITH added AS (
        INSERT INTO users (username, email, password) SELECT n, n, '-' FROM generate_series(1, %s) AS n
        RETURNING id
    )
    INSERT INTO auth_second_factors (user_id, secret, recovery_hashes, setup_expires_at)
    SELECT id, '', '{}', %s FROM added
"""


def test_purge_deletes_expired_setups_and_no_more_than_it_is_told(database: Database, sql: Sql) -> None:
    sql(ADD_SETUPS, 5, NOW)

    early = database.write(factors.purge, now=NOW - timedelta(seconds=1), at_most=3)
    removed = [database.write(factors.purge, now=NOW, at_most=3) for _ in range(3)]

    assert (early, removed) == (0, [3, 2, 0])


def test_purge_leaves_a_factor_in_force(database: Database, factor: Factor) -> None:
    removed = database.write(factors.purge, now=NOW + timedelta(days=1), at_most=3)

    assert removed == 0
    assert database.read(factors.find, factor.user_id) == factor


def test_purge_waits_for_no_lock(database: Database, url: str, sql: Sql) -> None:
    sql(ADD_SETUPS, 1, NOW)

    with held_open(url, "SELECT FROM auth_second_factors FOR UPDATE"):
        assert database.write(factors.purge, now=NOW, at_most=10) == 0


def test_purge_does_not_read_the_factors_in_force(sql: Sql) -> None:
    """Their number grows with that of the users, and the purge runs every few minutes."""
    sql(ADD_SETUPS, 3000, NOW)
    sql("UPDATE auth_second_factors SET enabled_at = now()")
    sql("ANALYZE auth_second_factors")

    plan = sql(
        "EXPLAIN SELECT user_id FROM auth_second_factors"
        " WHERE enabled_at IS NULL AND setup_expires_at <= now() LIMIT 500 FOR UPDATE SKIP LOCKED"
    )

    assert "auth_second_factors_setup_idx" in str(plan)
