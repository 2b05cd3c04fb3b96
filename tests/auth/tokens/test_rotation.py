"""What a refresh token means: it is current, was replaced a moment ago, or was stolen (replay)."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask import Flask

from auth import refresh_states
from auth.tokens import refresh as refresh_tokens
from auth.tokens.refresh import RefreshToken
from tests.support import SECRET_KEY
from tests.support.access_tokens import claims_of
from tests.support.actor import REFRESH_INVALID, REFRESH_REUSED, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.rows import DAY, elapse, session_ids, stored

SALT = b"s" * 32


def parsed(text: str) -> RefreshToken:
    token = refresh_tokens.parse(text)
    assert token
    return token


def rotate(app: Flask, token: RefreshToken, *, now: datetime) -> RefreshToken:
    """Store that `token` was replaced in a request that began at `now`, and return its successor."""
    successor = token.successor(salt=SALT, key=SECRET_KEY)
    app.extensions["auth"].database.write(
        refresh_states.rotate,
        selector_hash=token.selector_hash(),
        old_hash=token.hash(),
        new_hash=successor.hash(),
        salt=SALT,
        now=now,
        idle_expires_at=now + timedelta(days=1),
    )
    return successor


def twice(ada: Actor) -> tuple[Actor, Actor]:
    """Refresh with the same token in two tabs."""
    return ada.holding(ada.pair).refresh(), ada.holding(ada.pair).refresh()


def test_replaced_token_gets_the_successor_of_the_first_refresh(ada: Actor) -> None:
    first_tab, second_tab = twice(ada)

    assert first_tab.refresh_token == second_tab.refresh_token
    assert first_tab.session_id == second_tab.session_id == ada.session_id
    assert first_tab.is_live()
    assert second_tab.is_live()


def test_two_tabs_continue_after_both_refreshed_one_token(ada: Actor) -> None:
    first_tab, second_tab = twice(ada)

    first_tab.refresh()
    second_tab.refresh()

    assert first_tab.is_live()
    assert second_tab.is_live()
    assert first_tab.try_refresh().status_code == 200


def test_lost_answers_log_nobody_out(ada: Actor) -> None:
    for _ in range(5):
        ada.try_refresh()
        ada.refresh()

    assert ada.is_live()


def test_replaced_token_gets_the_seconds_left_since_the_first_refresh(
    client_of: ClientOf, ada: Actor, sql: Sql
) -> None:
    client = client_of(refresh_expires_seconds=60)
    ada.through(client).refresh()
    elapse(sql, 8)

    pair = ada.through(client).refresh().pair

    seconds_left = float(sql("SELECT EXTRACT(EPOCH FROM valid_until - now()) FROM auth_sessions")[0][0])
    claims = claims_of(pair["token"])
    assert seconds_left <= pair["refresh_expires_in"] + 1 <= 53
    assert pair["expires_in"] == pair["refresh_expires_in"] == claims["exp"] - claims["iat"]


@pytest.mark.parametrize(
    ("reuse_seconds", "elapsed", "status"),
    [
        pytest.param(10, 9, 200, id="within the default"),
        pytest.param(10, 10, 401, id="after the default"),
        pytest.param(10, 9 * DAY, 401, id="much later"),
        pytest.param(300, 299, 200, id="within a longer one"),
        pytest.param(300, 300, 401, id="after a longer one"),
        pytest.param(0, 0, 401, id="none"),
    ],
)
def test_replaced_token_is_accepted_for_the_seconds_of_the_setting(
    client_of: ClientOf, ada: Actor, sql: Sql, reuse_seconds: int, elapsed: int, status: int
) -> None:
    client = client_of(refresh_reuse_seconds=reuse_seconds)
    ada.through(client).refresh()
    elapse(sql, elapsed)

    answer = ada.through(client).try_refresh()

    assert answer.status_code == status
    assert session_ids(sql) == ([ada.session_id] if status == 200 else [])


def test_replaced_token_does_not_prolong_the_session(ada: Actor, sql: Sql) -> None:
    ada.holding(ada.pair).refresh()
    elapse(sql, 9)
    before = stored(sql)

    ada.refresh()

    assert stored(sql) == before


def test_replaced_token_of_an_expired_session_is_401(ada: Actor, sql: Sql) -> None:
    ada.holding(ada.pair).refresh()
    sql("UPDATE auth_sessions SET valid_until = now() - interval '1 ms'")

    answer = ada.try_refresh()

    assert refusal(answer) == REFRESH_INVALID


def test_refresh_that_waited_for_the_database_leaves_the_whole_time_for_reuse(app: Flask, ada: Actor) -> None:
    successor = rotate(app, parsed(ada.refresh_token), now=datetime.now(timezone.utc) - timedelta(seconds=60))

    answer = ada.try_refresh()

    assert answer.status_code == 200
    assert answer.get_json()["refresh_token"] == successor.text()


def test_replaced_token_at_a_service_with_another_key_ends_nothing(client_of: ClientOf, ada: Actor) -> None:
    owner = ada.holding(ada.pair).refresh()
    other = ada.through(client_of(secret_key=SECRET_KEY + "2"))

    answer = other.try_refresh()

    assert refusal(answer) == REFRESH_INVALID
    assert owner.try_refresh().status_code == 200


def use_up_late(owner: Actor, sql: Sql) -> None:
    owner.refresh()
    elapse(sql, 11)


def use_up_twice(owner: Actor, sql: Sql) -> None:
    owner.refresh().refresh()


@pytest.mark.parametrize(
    "use_up", [pytest.param(use_up_late, id="late"), pytest.param(use_up_twice, id="older")]
)
def test_replay_of_an_old_token_ends_the_session_for_thief_and_owner(
    ada: Actor, sql: Sql, use_up: Callable[[Actor, Sql], None]
) -> None:
    thief, phone = ada.holding(ada.pair), ada.elsewhere()
    use_up(ada, sql)

    replay = thief.try_refresh()

    assert refusal(replay) == REFRESH_REUSED
    assert refusal(ada.try_refresh()) == REFRESH_INVALID
    assert refusal(thief.try_refresh()) == REFRESH_INVALID
    assert not thief.is_live()
    assert not ada.is_live()
    assert phone.is_live()
    assert session_ids(sql) == [phone.session_id]


def test_replay_is_logged_with_ids_but_no_secret(ada: Actor, log_lines: list[dict[str, Any]]) -> None:
    pairs = [ada.pair, ada.refresh().pair, ada.refresh().pair]

    ada.try_refresh(pairs[0]["refresh_token"])

    warnings = [line["message"] for line in log_lines if line["level"] == "WARNING"]
    assert warnings == [f"refresh_reused user_id={ada.id} session_id={ada.session_id}"]
    secrets = [pair[name] for pair in pairs for name in ("token", "refresh_token")]
    assert not [secret for secret in secrets if secret in str(log_lines)]
