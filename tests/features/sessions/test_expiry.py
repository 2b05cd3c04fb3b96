"""A session ends 14 days after its last refresh, and 30 days after its login; no token outlives it."""

import time
from datetime import timedelta

from tests.support.access_tokens import claims_of
from tests.support.actor import REFRESH_INVALID, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.rows import DAY, elapse


def test_both_tokens_of_a_login_end_with_the_session(client_of: ClientOf, ada: Actor) -> None:
    client = client_of(session_max_seconds=100, refresh_expires_seconds=1000)

    pair = ada.through(client).log_in().pair

    claims = claims_of(pair["token"])
    assert (pair["expires_in"], pair["refresh_expires_in"]) == (100, 100)
    assert claims["exp"] - claims["iat"] == 100


def test_both_tokens_of_a_refresh_end_with_the_session(ada: Actor, sql: Sql) -> None:
    sql("UPDATE auth_sessions SET expires_at = now() + interval '100 seconds'")

    pair = ada.refresh().pair

    claims = claims_of(pair["token"])
    assert 95 <= pair["expires_in"] <= 100
    assert 95 <= pair["refresh_expires_in"] <= 100
    assert claims["exp"] - claims["iat"] == pair["expires_in"]
    assert sql("SELECT valid_until = expires_at FROM auth_sessions") == [(True,)]


def test_refresh_prolongs_the_session_but_not_beyond_its_end(ada: Actor, sql: Sql) -> None:
    elapse(sql, 13 * DAY)
    columns = "id, user_id, created_at, expires_at, ip, user_agent"
    before = sql(f"SELECT {columns} FROM auth_sessions")

    ada.refresh()

    [(last_used_at, idle_expires_at)] = sql("SELECT last_used_at, valid_until FROM auth_sessions")
    assert sql(f"SELECT {columns} FROM auth_sessions") == before
    assert abs(last_used_at.timestamp() - time.time()) < 5
    assert idle_expires_at - last_used_at == timedelta(days=14)


def test_refresh_in_the_last_minute_succeeds(ada: Actor, sql: Sql) -> None:
    elapse(sql, 14 * DAY - 60)

    answer = ada.try_refresh()

    assert answer.status_code == 200


def test_session_without_a_refresh_ends_after_14_days(ada: Actor, sql: Sql) -> None:
    elapse(sql, 14 * DAY + 1)

    assert refusal(ada.try_refresh()) == REFRESH_INVALID
    assert not ada.is_live()


def test_session_with_refreshes_is_live_for_almost_30_days(ada: Actor, sql: Sql) -> None:
    for _ in range(3):
        ada.refresh()
        elapse(sql, 9.99 * DAY)

    assert ada.is_live()
    pair = ada.refresh().pair
    assert pair["expires_in"] <= pair["refresh_expires_in"] <= 0.03 * DAY


def test_session_with_refreshes_ends_after_30_days(ada: Actor, sql: Sql) -> None:
    for _ in range(3):
        ada.refresh()
        elapse(sql, 9.99 * DAY)
    ada.refresh()

    elapse(sql, 0.04 * DAY)

    assert refusal(ada.try_refresh()) == REFRESH_INVALID
    assert not ada.is_live()
