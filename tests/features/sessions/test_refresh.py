"""POST /api/auth/refresh: the pair that follows, and which tokens are refused."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support import SECRET_KEY
from tests.support.access_tokens import EXPIRED
from tests.support.actor import REFRESH, REFRESH_INVALID, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.rows import DAY, stored

PAIR = {"token", "type", "expires_in", "refresh_token", "refresh_expires_in"}
OTHER_KEY = SECRET_KEY + "-of-another-service"


def test_refresh_answers_with_a_new_pair(ada: Actor) -> None:
    answer = ada.try_refresh()

    body = answer.get_json()
    assert (answer.status_code, body.keys()) == (200, PAIR)
    assert (body["type"], body["expires_in"], body["refresh_expires_in"]) == ("Bearer", 3600, 14 * DAY)
    assert body["token"] != ada.token
    assert body["refresh_token"] != ada.refresh_token
    assert answer.headers["Cache-Control"] == "no-store"
    assert ada.me(body["token"]).get_json() == ada.pair["user"]


def test_refresh_continues_the_session(ada: Actor) -> None:
    holders = [ada.holding(ada.pair)]
    for _ in range(5):
        holders.append(ada.holding(ada.refresh().pair))

    assert len({holder.refresh_token for holder in holders}) == 6
    assert {holder.session_id for holder in holders} == {ada.session_id}
    assert all(holder.is_live() for holder in holders)


def test_refresh_needs_no_access_token(ada: Actor) -> None:
    answer = ada.send("POST", REFRESH, {"refresh_token": ada.refresh_token}, token=EXPIRED)

    assert answer.status_code == 200


def test_refresh_follows_the_settings(client_of: ClientOf, ada: Actor, sql: Sql) -> None:
    other = ada.through(client_of(refresh_expires_seconds=60, jwt_expires_seconds=30))

    body = other.try_refresh().get_json()

    assert (body["expires_in"], body["refresh_expires_in"]) == (30, 60)
    assert sql("SELECT valid_until - last_used_at FROM auth_sessions") == [(timedelta(seconds=60),)]


@pytest.mark.parametrize("position", [pytest.param(3, id="selector"), pytest.param(40, id="verifier")])
def test_refresh_with_one_changed_character_is_401(ada: Actor, position: int) -> None:
    token = ada.refresh_token
    replacement = "A" if token[position] != "A" else "B"

    answer = ada.try_refresh(token[:position] + replacement + token[position + 1 :])

    assert answer.status_code == 401
    assert answer.get_json().keys() == {"error", "code"}


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("nonsense", id="nonsense"),
        pytest.param("A" * 64, id="unknown"),
        pytest.param("\u00e9" * 64, id="not ASCII"),
        pytest.param("=" * 64, id="padding"),
        pytest.param("x" * 60_000, id="endless"),
        pytest.param("' OR 1=1 --", id="SQL"),
        pytest.param(EXPIRED, id="access token"),
    ],
)
def test_refresh_of_no_refresh_token_is_401(ada: Actor, sql: Sql, token: str) -> None:
    before = stored(sql)

    answer = ada.try_refresh(token)

    assert refusal(answer) == REFRESH_INVALID
    assert stored(sql) == before


def test_refresh_with_the_access_token_is_401(ada: Actor) -> None:
    answer = ada.try_refresh(ada.token)

    assert refusal(answer) == REFRESH_INVALID
    assert ada.is_live()


def test_refresh_token_is_no_access_token(ada: Actor) -> None:
    answer = ada.me(ada.refresh_token)

    assert answer.status_code == 401
    assert ada.is_live()


def test_refresh_of_a_deleted_user_is_401(ada: Actor, sql: Sql) -> None:
    sql("DELETE FROM users")

    answer = ada.try_refresh()

    assert refusal(answer) == REFRESH_INVALID


def test_refresh_under_another_key_of_the_service_succeeds(client_of: ClientOf, ada: Actor) -> None:
    other = ada.through(client_of(secret_key=OTHER_KEY)).refresh()

    answer = other.try_refresh()

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        pytest.param({"json": {}}, 400, "validation_failed", id="no token"),
        pytest.param({"json": {"refresh_token": None}}, 400, "validation_failed", id="null"),
        pytest.param({"json": {"refresh_token": ""}}, 400, "validation_failed", id="empty"),
        pytest.param({"json": {"refresh_token": 7}}, 400, "validation_failed", id="number"),
        pytest.param({"json": {"refresh_token": ["x"]}}, 400, "validation_failed", id="list"),
        pytest.param({"json": {"refresh_token": "\0"}}, 400, "validation_failed", id="NUL"),
        pytest.param({"json": {"refresh_token": "\ud800"}}, 400, "validation_failed", id="lone surrogate"),
        pytest.param({"json": []}, 400, "invalid_json", id="array"),
        pytest.param({"data": "{", "content_type": "application/json"}, 400, "invalid_json", id="half"),
        pytest.param({"data": "refresh_token=x"}, 415, "unsupported_media_type", id="no type"),
        pytest.param({}, 415, "unsupported_media_type", id="nothing"),
        pytest.param({"json": {"refresh_token": "x" * 70_000}}, 413, "body_too_large", id="large"),
    ],
)
def test_refresh_of_a_bad_body_is_refused(
    client: FlaskClient, sent: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post(REFRESH, **sent)

    assert refusal(answer) == (status, code, None)
    if code == "validation_failed":
        assert answer.get_json()["fields"].keys() == {"refresh_token"}
