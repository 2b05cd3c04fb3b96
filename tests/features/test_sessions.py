"""Sessions: opened by registration and login, refreshed, listed, ended, purged, and what they cost."""

import base64
import itertools
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jwt
import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection
from werkzeug.test import TestResponse

from app import create_app
from auth import sessions
from auth.features.sessions import PURGE_EVERY
from config import Settings
from dev import postgres as embedded_postgres
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import ClientOf, Register
from tests.support.database import Sql, on_database, run_sql

REGISTER, LOGIN, ME = "/api/auth/register", "/api/auth/login", "/api/auth/me"
REFRESH, LOGOUT, SESSIONS = "/api/auth/refresh", "/api/auth/logout", "/api/auth/sessions"
DAY = 24 * 3600
BOB = {"username": "bob", "email": "bob@example.com"}
PAIR = {"token", "type", "expires_in", "refresh_token", "refresh_expires_in"}
INVALID = (401, "token_invalid", 'Bearer error="invalid_token"')
REFRESH_INVALID = (401, "refresh_invalid", 'Bearer error="invalid_token"')
REFRESH_REUSED = (401, "refresh_reused", 'Bearer error="invalid_token"')
EXPIRED = jwt.encode({"id": 1, "exp": 1}, SECRET_KEY, algorithm="HS256")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def log_in(client: FlaskClient, **changes: Any) -> dict[str, Any]:
    """Log ada in; changes: of the request, such as its headers."""
    answer = client.post(LOGIN, json={"username": "ada", "password": PASSWORD}, **changes)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.get_json()
    return body


def refresh(client: FlaskClient, refresh_token: object) -> TestResponse:
    return client.post(REFRESH, json={"refresh_token": refresh_token})


def refreshed(client: FlaskClient, pair: dict[str, Any]) -> dict[str, Any]:
    """Return the pair that follows `pair`."""
    answer = refresh(client, pair["refresh_token"])
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.get_json()
    return body


def me(client: FlaskClient, token: str) -> TestResponse:
    return client.get(ME, headers=bearer(token))


def is_live(client: FlaskClient, pair: dict[str, Any]) -> bool:
    """Return whether the access token is good; the refresh token is left as it is."""
    answer = me(client, pair["token"])
    if answer.status_code != 200:
        assert refusal(answer) == INVALID
    return answer.status_code == 200


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, SECRET_KEY, algorithms=["HS256"])
    return claims


def sid(pair: dict[str, Any]) -> int:
    return int(claims_of(pair["token"])["sid"])


def without_session(user_id: int, **claims: object) -> str:
    """Return an access token of an earlier version, which knew no sessions."""
    claims = {"id": user_id, "exp": int(time.time()) + 3600} | claims
    return jwt.encode(claims, SECRET_KEY, algorithm="HS256")


def refusal(answer: TestResponse) -> tuple[int, str, str | None]:
    """Return what tells one refusal from another."""
    assert answer.get_json().keys() - {"fields"} == {"error", "code"}
    return answer.status_code, answer.get_json()["code"], answer.headers.get("WWW-Authenticate")


def stored(sql: Sql) -> list[tuple[Any, ...]]:
    """Return every row of sessions."""
    return sql("SELECT auth_sessions::text FROM auth_sessions ORDER BY id")


def elapse(sql: Sql, seconds: float) -> None:
    """Let time pass for every session."""
    names = ("created_at", "rotated_at", "last_used_at", "valid_until", "expires_at")
    moved = ", ".join(f"{name} = {name} - interval '{seconds} seconds'" for name in names)
    sql(f"UPDATE auth_sessions SET {moved}")


def test_register_and_login_answer_with_both_tokens(client: FlaskClient, register: Register) -> None:
    registered, logged_in = register(), log_in(client)

    assert registered.keys() == PAIR | {"message", "userId", "username", "user"}
    assert logged_in.keys() == PAIR | {"user"}
    for body in (registered, logged_in):
        assert re.fullmatch("[A-Za-z0-9_-]{43,}", body["refresh_token"])
        assert (body["expires_in"], body["refresh_expires_in"]) == (3600, 14 * DAY)
    assert registered["refresh_token"] != logged_in["refresh_token"]


def test_register_and_login_open_a_session_each(client: FlaskClient, register: Register, sql: Sql) -> None:
    registered, logged_in = register(), log_in(client)

    assert sql("SELECT id, user_id FROM auth_sessions ORDER BY id") == [
        (sid(registered), registered["userId"]),
        (sid(logged_in), registered["userId"]),
    ]
    assert type(claims_of(registered["token"])["sid"]) is int


def test_session_is_stored_with_its_times(client_of: ClientOf, register: Register, sql: Sql) -> None:
    register()
    sql("DELETE FROM auth_sessions")
    begun = datetime.now(timezone.utc)

    log_in(client_of(refresh_expires_seconds=60, session_max_seconds=90))

    [times] = sql("SELECT created_at, last_used_at, valid_until, expires_at FROM auth_sessions")
    created_at, last_used_at, valid_until, expires_at = times
    assert begun <= created_at <= datetime.now(timezone.utc)
    assert last_used_at == created_at
    assert valid_until - created_at == timedelta(seconds=60)
    assert expires_at - created_at == timedelta(seconds=90)


@pytest.mark.parametrize("path", [REGISTER, LOGIN])
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param("Firefox/140.0", "Firefox/140.0", id="short"),
        pytest.param("a" * 199 + "bc", "a" * 199 + "b", id="201 characters"),
        pytest.param("a" * 4000, "a" * 200, id="endless"),
        pytest.param("caf\u00e9", "caf?", id="not ASCII"),
        pytest.param(
            "'; DROP TABLE auth_sessions; --%s%(x)s", "'; DROP TABLE auth_sessions; --%s%(x)s", id="SQL"
        ),
        pytest.param("", "", id="empty"),
    ],
)
def test_session_keeps_200_characters_of_the_user_agent(
    client: FlaskClient, register: Register, sql: Sql, path: str, sent: str, kept: str
) -> None:
    register()
    body = {"username": "ada", "password": PASSWORD} if path == LOGIN else BOB | {"password": PASSWORD}

    answer = client.post(path, json=body, headers={"User-Agent": sent})

    assert answer.status_code in (200, 201)
    assert sql("SELECT user_agent FROM auth_sessions ORDER BY id DESC LIMIT 1") == [(kept,)]


@pytest.mark.parametrize(
    ("trusted", "headers", "kept"),
    [
        pytest.param(0, {}, "198.51.100.7", id="no proxy"),
        pytest.param(0, {"X-Forwarded-For": "203.0.113.9"}, "198.51.100.7", id="no proxy, forged"),
        pytest.param(1, {"X-Forwarded-For": "203.0.113.9"}, "203.0.113.9", id="one proxy"),
        pytest.param(
            1, {"X-Forwarded-For": "1.2.3.4, 203.0.113.9"}, "203.0.113.9", id="one proxy, one forged"
        ),
        pytest.param(
            1, {"X-Forwarded-For": "5.6.7.8,1.2.3.4, 203.0.113.9"}, "203.0.113.9", id="one proxy, two forged"
        ),
        pytest.param(1, {}, "198.51.100.7", id="one proxy that says nothing"),
        pytest.param(
            1,
            {"X-Forwarded-For": "1.2.3.4, " * 900 + "203.0.113.9"},
            "203.0.113.9",
            id="one proxy, 900 forged",
        ),
        pytest.param(1, {"X-Forwarded-For": "2001:db8::1"}, "2001:db8::1", id="one proxy, IPv6"),
        pytest.param(
            2, {"X-Forwarded-For": "1.2.3.4, 203.0.113.9, 192.0.2.1"}, "203.0.113.9", id="two, one forged"
        ),
        pytest.param(2, {"X-Forwarded-For": "1.2.3.4"}, "198.51.100.7", id="two proxies, one passed by"),
        pytest.param(
            0,
            {"X-Real-Ip": "1.2.3.4", "Forwarded": "for=1.2.3.4", "Client-Ip": "1.2.3.4"},
            "198.51.100.7",
            id="other headers, no proxy",
        ),
        pytest.param(
            1,
            {"X-Real-Ip": "1.2.3.4", "Forwarded": "for=1.2.3.4", "Client-Ip": "1.2.3.4"},
            "198.51.100.7",
            id="other headers, one proxy",
        ),
    ],
)
def test_session_keeps_the_address_that_cannot_be_forged(
    client_of: ClientOf, register: Register, sql: Sql, trusted: int, headers: dict[str, str], kept: str
) -> None:
    register()
    client = client_of(trusted_proxies=trusted)

    log_in(client, headers=headers, environ_base={"REMOTE_ADDR": "198.51.100.7"})

    assert sql("SELECT ip FROM auth_sessions ORDER BY id DESC LIMIT 1") == [(kept,)]


def test_failed_login_opens_no_session(client: FlaskClient, register: Register, sql: Sql) -> None:
    register()
    before = stored(sql)

    client.post(LOGIN, json={"username": "ada", "password": "wrong horse"})
    client.post(REGISTER, json=BOB | {"password": PASSWORD, "username": "ada"})

    assert stored(sql) == before


def test_both_tokens_end_with_the_session(client_of: ClientOf, register: Register) -> None:
    register()

    pair = log_in(client_of(session_max_seconds=100, refresh_expires_seconds=1000))

    claims = claims_of(pair["token"])
    assert (pair["expires_in"], pair["refresh_expires_in"]) == (100, 100)
    assert claims["exp"] - claims["iat"] == 100


def test_refresh_answers_with_a_new_pair(client: FlaskClient, register: Register) -> None:
    registered = register()

    answer = refresh(client, registered["refresh_token"])

    body = answer.get_json()
    assert (answer.status_code, body.keys()) == (200, PAIR)
    assert (body["type"], body["expires_in"], body["refresh_expires_in"]) == ("Bearer", 3600, 14 * DAY)
    assert body["token"] != registered["token"]
    assert body["refresh_token"] != registered["refresh_token"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert me(client, body["token"]).get_json() == registered["user"]


def test_refresh_goes_on_with_the_session(client: FlaskClient, register: Register) -> None:
    pairs = [register()]
    for _ in range(5):
        pairs.append(refreshed(client, pairs[-1]))

    assert len({pair["refresh_token"] for pair in pairs}) == 6
    assert {sid(pair) for pair in pairs} == {sid(pairs[0])}
    assert all(is_live(client, pair) for pair in pairs)


def test_refresh_needs_no_access_token(client: FlaskClient, register: Register) -> None:
    registered = register()

    answer = client.post(
        REFRESH, json={"refresh_token": registered["refresh_token"]}, headers=bearer(EXPIRED)
    )

    assert answer.status_code == 200


def test_refresh_prolongs_the_session_but_not_its_end(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    pair = register()
    elapse(sql, 13 * DAY)
    columns = "id, user_id, created_at, expires_at, ip, user_agent"
    before = sql(f"SELECT {columns} FROM auth_sessions")

    refreshed(client, pair)

    [(last_used_at, valid_until)] = sql("SELECT last_used_at, valid_until FROM auth_sessions")
    assert sql(f"SELECT {columns} FROM auth_sessions") == before
    assert abs(last_used_at.timestamp() - time.time()) < 5
    assert valid_until - last_used_at == timedelta(days=14)


def test_refresh_follows_the_settings(client_of: ClientOf, register: Register, sql: Sql) -> None:
    pair = register()

    answer = refresh(client_of(refresh_expires_seconds=60, jwt_expires_seconds=30), pair["refresh_token"])

    assert answer.get_json()["expires_in"] == 30
    assert answer.get_json()["refresh_expires_in"] == 60
    assert sql("SELECT valid_until - last_used_at FROM auth_sessions") == [(timedelta(seconds=60),)]


def test_refresh_lets_neither_token_outlive_the_session(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    pair = register()
    sql("UPDATE auth_sessions SET expires_at = now() + interval '100 seconds'")

    body = refreshed(client, pair)

    claims = claims_of(body["token"])
    assert 95 <= body["expires_in"] <= 100
    assert 95 <= body["refresh_expires_in"] <= 100
    assert claims["exp"] - claims["iat"] == body["expires_in"]
    assert sql("SELECT valid_until = expires_at FROM auth_sessions") == [(True,)]


def test_refresh_just_before_its_time_is_over_succeeds(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    pair = register()
    elapse(sql, 14 * DAY - 60)

    assert refresh(client, pair["refresh_token"]).status_code == 200


def test_session_that_is_always_refreshed_ends_after_30_days(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    pair = register()
    for _ in range(3):
        pair = refreshed(client, pair)
        elapse(sql, 9.99 * DAY)
    assert is_live(client, pair)
    pair = refreshed(client, pair)
    assert pair["expires_in"] <= pair["refresh_expires_in"] <= 0.03 * DAY

    elapse(sql, 0.04 * DAY)

    assert refusal(refresh(client, pair["refresh_token"])) == REFRESH_INVALID
    assert not is_live(client, pair)


def test_session_that_is_not_refreshed_ends_after_14_days(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    pair = register()

    elapse(sql, 14 * DAY + 1)

    assert refusal(refresh(client, pair["refresh_token"])) == REFRESH_INVALID
    assert not is_live(client, pair)


@pytest.mark.parametrize("change", ["handle", "secret"])
def test_refresh_with_one_changed_character_is_401(
    client: FlaskClient, register: Register, change: str
) -> None:
    token = register()["refresh_token"]
    at = 3 if change == "handle" else 40
    changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]

    answer = refresh(client, changed)

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
def test_refresh_of_no_refresh_token_is_401(
    client: FlaskClient, register: Register, sql: Sql, token: str
) -> None:
    register()
    before = stored(sql)

    answer = refresh(client, token)

    assert refusal(answer) == REFRESH_INVALID
    assert stored(sql) == before


def test_refresh_with_the_access_token_is_401(client: FlaskClient, register: Register) -> None:
    pair = register()

    assert refusal(refresh(client, pair["token"])) == REFRESH_INVALID
    assert me(client, pair["refresh_token"]).status_code == 401
    assert is_live(client, pair)


def test_refresh_of_a_deleted_user_is_401(client: FlaskClient, register: Register, sql: Sql) -> None:
    pair = register()
    sql("DELETE FROM users")

    assert refusal(refresh(client, pair["refresh_token"])) == REFRESH_INVALID


def test_refresh_under_another_key_of_the_service_still_works(
    client_of: ClientOf, register: Register
) -> None:
    pair = register()
    other = client_of(secret_key="another-key-for-tests-that-is-longer-than-32-bytes")

    answer = refresh(other, pair["refresh_token"])

    assert answer.status_code == 200
    assert refresh(other, answer.get_json()["refresh_token"]).status_code == 200


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


def test_replaced_token_shown_again_gets_what_the_first_caller_got(
    client: FlaskClient, register: Register
) -> None:
    first = register()

    one, two = refreshed(client, first), refreshed(client, first)

    assert one["refresh_token"] == two["refresh_token"]
    assert sid(one) == sid(two) == sid(first)
    assert is_live(client, one)
    assert is_live(client, two)


def test_both_callers_go_on_after_a_token_was_shown_twice(client: FlaskClient, register: Register) -> None:
    first = register()
    one, two = refreshed(client, first), refreshed(client, first)

    one = refreshed(client, one)
    two = refreshed(client, two)

    assert is_live(client, one)
    assert is_live(client, two)
    assert refresh(client, one["refresh_token"]).status_code == 200


def test_lost_reply_logs_nobody_out(client: FlaskClient, register: Register) -> None:
    pair = register()
    for _ in range(5):
        refreshed(client, pair)
        pair = refreshed(client, pair)

    assert is_live(client, pair)


def test_token_that_is_shown_again_is_told_what_is_left_since_its_rotation(
    client_of: ClientOf, register: Register, sql: Sql
) -> None:
    client, pair = client_of(refresh_expires_seconds=60), register()
    refreshed(client, pair)
    elapse(sql, 8)

    again = refreshed(client, pair)

    left = float(sql("SELECT EXTRACT(EPOCH FROM valid_until - now()) FROM auth_sessions")[0][0])
    claims = claims_of(again["token"])
    assert left <= again["refresh_expires_in"] + 1 <= 53
    assert again["expires_in"] == again["refresh_expires_in"] == claims["exp"] - claims["iat"]


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
def test_replaced_token_is_taken_for_the_settings_seconds(
    client_of: ClientOf, register: Register, sql: Sql, reuse_seconds: int, elapsed: int, status: int
) -> None:
    client, pair = client_of(refresh_reuse_seconds=reuse_seconds), register()
    refreshed(client, pair)
    elapse(sql, elapsed)

    answer = refresh(client, pair["refresh_token"])

    assert answer.status_code == status
    assert len(stored(sql)) == (1 if status == 200 else 0)


def test_replaced_token_prolongs_nothing(client: FlaskClient, register: Register, sql: Sql) -> None:
    pair = register()
    refreshed(client, pair)
    elapse(sql, 9)
    before = stored(sql)

    refreshed(client, pair)

    assert stored(sql) == before


def test_replaced_token_of_an_expired_session_is_401(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    pair = register()
    refreshed(client, pair)
    sql("UPDATE auth_sessions SET valid_until = now() - interval '1 ms'")

    assert refusal(refresh(client, pair["refresh_token"])) == REFRESH_INVALID


def replay_late(client: FlaskClient, sql: Sql, first: dict[str, Any]) -> dict[str, Any]:
    newest = refreshed(client, first)
    elapse(sql, 11)
    return newest


def replay_older(client: FlaskClient, sql: Sql, first: dict[str, Any]) -> dict[str, Any]:
    return refreshed(client, refreshed(client, first))


@pytest.mark.parametrize(
    "use_up", [pytest.param(replay_late, id="late"), pytest.param(replay_older, id="older")]
)
def test_replay_of_an_old_token_ends_the_session_for_everybody(
    client: FlaskClient,
    register: Register,
    sql: Sql,
    use_up: Callable[[FlaskClient, Sql, dict[str, Any]], dict[str, Any]],
) -> None:
    first, other = register(), log_in(client)
    newest = use_up(client, sql, first)

    answer = refresh(client, first["refresh_token"])

    assert refusal(answer) == REFRESH_REUSED
    assert refusal(refresh(client, newest["refresh_token"])) == REFRESH_INVALID
    assert refusal(refresh(client, first["refresh_token"])) == REFRESH_INVALID
    assert not is_live(client, first)
    assert not is_live(client, newest)
    assert is_live(client, other)
    assert sql("SELECT id FROM auth_sessions") == [(sid(other),)]


def test_replay_is_logged_with_ids_but_no_secret(
    client: FlaskClient, register: Register, log_lines: list[dict[str, Any]]
) -> None:
    first = register()
    second = refreshed(client, first)
    third = refreshed(client, second)

    refresh(client, first["refresh_token"])

    warnings = [line["message"] for line in log_lines if line["level"] == "WARNING"]
    assert warnings == [f"refresh_reused user_id={first['userId']} session_id={sid(first)}"]
    pairs = (first, second, third)
    secrets = [pair[name] for pair in pairs for name in ("token", "refresh_token")]
    assert not [secret for secret in secrets if secret in str(log_lines)]


def log_out(client: FlaskClient, token: str = "", **changes: Any) -> TestResponse:
    return client.post(LOGOUT, headers=bearer(token) if token else {}, **changes)


def test_logout_ends_the_session_of_the_token(client: FlaskClient, register: Register, sql: Sql) -> None:
    other, pair = register(), log_in(client)

    answer = log_out(client, pair["token"])

    assert (answer.status_code, answer.data) == (204, b"")
    assert not is_live(client, pair)
    assert refusal(refresh(client, pair["refresh_token"])) == REFRESH_INVALID
    assert is_live(client, other)
    assert sql("SELECT id FROM auth_sessions") == [(sid(other),)]


def test_logout_again_is_204(client: FlaskClient, register: Register) -> None:
    pair = register()

    assert [log_out(client, pair["token"]).status_code for _ in range(3)] == [204] * 3


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(EXPIRED, id="expired access token"),
        pytest.param("nonsense", id="invalid access token"),
        pytest.param("", id="no access token"),
    ],
)
def test_logout_with_the_refresh_token_ends_its_session(
    client: FlaskClient, register: Register, token: str
) -> None:
    other, pair = register(), log_in(client)
    body = {"refresh_token": pair["refresh_token"]}

    statuses = [log_out(client, token, json=body).status_code for _ in range(2)]

    assert statuses == [204, 204]
    assert not is_live(client, pair)
    assert refusal(refresh(client, pair["refresh_token"])) == REFRESH_INVALID
    assert is_live(client, other)


def test_logout_with_a_replaced_refresh_token_ends_its_session(
    client: FlaskClient, register: Register
) -> None:
    pair = register()
    newest = refreshed(client, refreshed(client, pair))

    answer = log_out(client, json={"refresh_token": pair["refresh_token"]})

    assert answer.status_code == 204
    assert not is_live(client, newest)


def test_logout_with_an_unknown_refresh_token_is_204(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    register()
    before = stored(sql)

    answer = log_out(client, json={"refresh_token": "A" * 64})

    assert answer.status_code == 204
    assert stored(sql) == before


def test_logout_with_both_tokens_ends_the_session_of_the_access_token(
    client: FlaskClient, register: Register
) -> None:
    other, pair = register(), log_in(client)

    answer = log_out(client, pair["token"], json={"refresh_token": other["refresh_token"]})

    assert answer.status_code == 204
    assert not is_live(client, pair)


def test_logout_with_a_token_of_an_earlier_version_ends_nothing(
    client: FlaskClient, register: Register
) -> None:
    pair = register()

    assert log_out(client, without_session(pair["userId"])).status_code == 204
    assert is_live(client, pair)


@pytest.mark.parametrize(
    ("token", "sent", "status", "code"),
    [
        pytest.param("", {}, 401, "token_missing", id="nothing"),
        pytest.param("", {"json": {}}, 401, "token_missing", id="empty body"),
        pytest.param(EXPIRED, {}, 401, "token_expired", id="expired"),
        pytest.param(EXPIRED, {"json": {}}, 401, "token_expired", id="expired, empty body"),
        pytest.param("nonsense", {}, 401, "token_invalid", id="nonsense"),
        pytest.param("", {"json": {"refresh_token": "x"}}, 401, "refresh_invalid", id="no refresh token"),
        pytest.param("", {"json": {"refresh_token": 7}}, 400, "validation_failed", id="number"),
        pytest.param("", {"json": {"refresh_token": None}}, 400, "validation_failed", id="null"),
        pytest.param("", {"data": "x"}, 415, "unsupported_media_type", id="no type"),
        pytest.param("", {"json": []}, 400, "invalid_json", id="array"),
        pytest.param("", {"json": {"refresh_token": "x" * 70_000}}, 413, "body_too_large", id="large"),
    ],
)
def test_logout_with_neither_token_is_refused(
    client: FlaskClient,
    register: Register,
    sql: Sql,
    token: str,
    sent: dict[str, Any],
    status: int,
    code: str,
) -> None:
    register()
    before = stored(sql)

    answer = log_out(client, token, **sent)

    assert refusal(answer)[:2] == (status, code)
    assert stored(sql) == before


def listed(client: FlaskClient, token: str) -> list[dict[str, Any]]:
    answer = client.get(SESSIONS, headers=bearer(token))
    assert answer.status_code == 200, answer.text
    assert answer.get_json().keys() == {"sessions"}
    found: list[dict[str, Any]] = answer.get_json()["sessions"]
    return found


def delete(client: FlaskClient, token: str, session_id: object = None) -> TestResponse:
    path = SESSIONS if session_id is None else f"{SESSIONS}/{session_id}"
    return client.delete(path, headers=bearer(token))


def test_list_describes_the_session(client: FlaskClient, register: Register, sql: Sql) -> None:
    register()
    sql("DELETE FROM auth_sessions")
    pair = log_in(client, headers={"User-Agent": "Firefox"}, environ_base={"REMOTE_ADDR": "198.51.100.7"})
    sql(
        "UPDATE auth_sessions"
        " SET created_at = '2026-01-02 03:04:05.678901Z', last_used_at = '2026-01-03 00:00Z'"
    )
    sql("UPDATE auth_sessions SET expires_at = '2126-02-01 02:00:00+02', valid_until = '2126-01-01 00:00Z'")

    assert listed(client, pair["token"]) == [
        {
            "id": sid(pair),
            "created_at": "2026-01-02T03:04:05.678Z",
            "last_used_at": "2026-01-03T00:00:00.000Z",
            "expires_at": "2126-02-01T00:00:00.000Z",
            "ip": "198.51.100.7",
            "user_agent": "Firefox",
            "current": True,
        }
    ]


def test_list_is_newest_first_and_marks_the_current_one(client: FlaskClient, register: Register) -> None:
    pairs = [register(), log_in(client), log_in(client)]
    refreshed(client, pairs[0])

    found = listed(client, pairs[1]["token"])

    assert [(row["id"], row["current"]) for row in found] == [
        (sid(pairs[2]), False),
        (sid(pairs[1]), True),
        (sid(pairs[0]), False),
    ]


def test_list_follows_the_time_of_opening(client: FlaskClient, register: Register, sql: Sql) -> None:
    pairs = [register(), log_in(client)]
    sql("UPDATE auth_sessions SET created_at = created_at - interval '1 day' WHERE id = %s", sid(pairs[1]))

    found = listed(client, pairs[0]["token"])

    assert [row["id"] for row in found] == [sid(pairs[0]), sid(pairs[1])]


def test_list_leaves_out_others_and_what_is_over(client: FlaskClient, register: Register, sql: Sql) -> None:
    register(**BOB)
    register()
    pair = log_in(client)
    sql("UPDATE auth_sessions SET valid_until = now() - interval '1 ms' WHERE id <> %s", sid(pair))
    log_in(client)
    sql("UPDATE auth_sessions SET valid_until = now() + interval '1 day' WHERE user_id = 1")

    found = listed(client, pair["token"])

    assert [row["id"] for row in found] == [sid(pair) + 1, sid(pair)]


def test_list_with_a_token_of_an_earlier_version_marks_none(client: FlaskClient, register: Register) -> None:
    pair = register()

    found = listed(client, without_session(pair["userId"]))

    assert [(row["id"], row["current"]) for row in found] == [(sid(pair), False)]


def test_list_with_a_token_of_an_earlier_version_may_be_empty(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    user_id = register()["userId"]
    sql("DELETE FROM auth_sessions")

    assert listed(client, without_session(user_id)) == []


def test_refresh_is_seen_in_the_list(client: FlaskClient, register: Register, sql: Sql) -> None:
    pair = register()
    elapse(sql, DAY)
    [before] = listed(client, pair["token"])

    refreshed(client, pair)

    [after] = listed(client, pair["token"])
    assert after["last_used_at"] > before["last_used_at"]
    assert after | {"last_used_at": ""} == before | {"last_used_at": ""}


def test_delete_of_a_session_ends_it_and_no_other(client: FlaskClient, register: Register) -> None:
    bob, first, ended, current = register(**BOB), register(), log_in(client), log_in(client)

    answer = delete(client, current["token"], sid(ended))

    assert (answer.status_code, answer.data) == (204, b"")
    assert not is_live(client, ended)
    assert refusal(refresh(client, ended["refresh_token"])) == REFRESH_INVALID
    assert all(is_live(client, pair) for pair in (bob, first, current))


def test_delete_of_the_current_session_is_a_logout(client: FlaskClient, register: Register) -> None:
    pair = register()

    assert delete(client, pair["token"], sid(pair)).status_code == 204
    assert not is_live(client, pair)
    assert refusal(delete(client, pair["token"], sid(pair))) == INVALID


def test_delete_of_a_session_again_is_404(client: FlaskClient, register: Register) -> None:
    first, current = register(), log_in(client)

    statuses = [delete(client, current["token"], sid(first)).status_code for _ in range(2)]

    assert statuses == [204, 404]


def test_delete_of_somebody_elses_session_is_the_same_404_as_of_none(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    bob, ada = register(**BOB), register()
    before = stored(sql)

    theirs, nobodys = delete(client, ada["token"], sid(bob)), delete(client, ada["token"], 10**6)

    assert refusal(theirs) == (404, "not_found", None)
    assert theirs.get_json() == nobodys.get_json()
    assert {name for name, _ in theirs.headers} == {name for name, _ in nobodys.headers}
    assert stored(sql) == before
    assert is_live(client, bob)


@pytest.mark.parametrize("session_id", [0, -1, 2**63 - 1, 2**63, 10**30, "abc", "1.0", "1/1", "%00", "null"])
def test_delete_of_no_session_is_404(
    client: FlaskClient, register: Register, sql: Sql, session_id: object
) -> None:
    pair = register()
    before = stored(sql)

    answer = delete(client, pair["token"], session_id)

    assert refusal(answer) == (404, "not_found", None)
    assert stored(sql) == before


def test_delete_of_sessions_leaves_only_the_current_one(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    bob, others, current = register(**BOB), [register(), log_in(client)], log_in(client)

    answers = [delete(client, current["token"]) for _ in range(2)]

    assert [(answer.status_code, answer.data) for answer in answers] == [(204, b"")] * 2
    assert not any(is_live(client, pair) for pair in others)
    assert {refusal(refresh(client, pair["refresh_token"])) for pair in others} == {REFRESH_INVALID}
    assert sql("SELECT id FROM auth_sessions ORDER BY id") == [(sid(bob),), (sid(current),)]
    assert refresh(client, current["refresh_token"]).status_code == 200


def test_delete_of_sessions_with_a_token_of_an_earlier_version_ends_all(
    client: FlaskClient, register: Register
) -> None:
    pair = register()

    assert delete(client, without_session(pair["userId"])).status_code == 204
    assert not is_live(client, pair)


GUARDED = [
    pytest.param("GET", ME, id="me"),
    pytest.param("GET", SESSIONS, id="list"),
    pytest.param("DELETE", SESSIONS, id="end others"),
    pytest.param("DELETE", f"{SESSIONS}/1", id="end one"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    ("token", "code"),
    [
        pytest.param("", "token_missing", id="none"),
        pytest.param(EXPIRED, "token_expired", id="expired"),
        pytest.param("nonsense", "token_invalid", id="nonsense"),
        pytest.param(without_session(2**31 - 1), "token_invalid", id="unknown user"),
        pytest.param(without_session(1, sid=10**6), "token_invalid", id="unknown session"),
        pytest.param(without_session(1, sid=2), "token_invalid", id="session of somebody else"),
        pytest.param(without_session(1, sid="1"), "token_invalid", id="session as a string"),
        pytest.param(without_session(1, sid=True), "token_invalid", id="session as a boolean"),
        pytest.param(without_session(1, sid=0), "token_invalid", id="session of 0"),
        pytest.param(without_session(1, sid=2**63), "token_invalid", id="session past BIGSERIAL"),
    ],
)
def test_call_without_a_valid_token_is_401(
    client: FlaskClient, register: Register, sql: Sql, method: str, path: str, token: str, code: str
) -> None:
    assert sid(register()) == 1
    assert sid(register(**BOB)) == 2
    before = stored(sql)

    answer = client.open(path, method=method, headers=bearer(token))

    challenge = "Bearer" if code == "token_missing" else 'Bearer error="invalid_token"'
    assert refusal(answer) == (401, code, challenge)
    assert stored(sql) == before


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "over",
    [
        pytest.param("DELETE FROM auth_sessions WHERE id = 1", id="ended"),
        pytest.param(
            "UPDATE auth_sessions SET valid_until = now() - interval '1 ms' WHERE id = 1", id="expired"
        ),
    ],
)
def test_call_after_the_end_of_the_session_is_401(
    client: FlaskClient, register: Register, sql: Sql, method: str, path: str, over: str
) -> None:
    token = register()["token"]
    log_in(client)
    sql(over)
    before = stored(sql)

    answer = client.open(path, method=method, headers=bearer(token))

    assert refusal(answer) == INVALID
    assert stored(sql) == before


@pytest.mark.parametrize(("method", "path"), GUARDED[:2])
def test_token_of_an_earlier_version_is_valid_until_it_expires(
    client: FlaskClient, register: Register, sql: Sql, method: str, path: str
) -> None:
    user_id = register()["userId"]
    sql("DELETE FROM auth_sessions")

    answer = client.open(path, method=method, headers=bearer(without_session(user_id)))
    late = client.open(path, method=method, headers=bearer(without_session(user_id, exp=1)))

    assert answer.status_code == 200
    assert refusal(late)[:2] == (401, "token_expired")


def test_end_of_a_session_is_logged_with_ids(
    client: FlaskClient, register: Register, log_lines: list[dict[str, Any]]
) -> None:
    pair = register()
    log_out(client, pair["token"])

    me(client, pair["token"])

    warnings = [line["message"] for line in log_lines if line["level"] == "WARNING"]
    assert warnings == [f"session_over user_id={pair['userId']} session_id={sid(pair)}"]


@pytest.fixture
def purge(app: Flask) -> Callable[..., int]:
    """Purge through the app's own connections; returns how many sessions were removed."""

    def run(at_most: int = 1000) -> int:
        database = app.extensions["auth"].database
        removed = database.write(sessions.purge, now=datetime.now(timezone.utc), at_most=at_most)
        return int(removed)

    return run


def fill(sql: Sql, *, live: int, over: int) -> None:
    """Give user 1 many sessions."""
    for count, label, ends in ((live, "live", "1 second"), (over, "over", "-1 second")):
        sql(
            "INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at,"
            " valid_until, expires_at, ip, user_agent)"
            " SELECT 1, sha256((%s || n)::bytea), ''::bytea, now(), now(),"
            " now() + n * %s::interval + interval '30 s' * sign(%s), now() + interval '1 day', '', %s"
            " FROM generate_series(1, %s) AS n",
            label,
            ends,
            1 if label == "live" else -1,
            label,
            count,
        )


def count_by_agent(sql: Sql) -> dict[str, int]:
    return dict(sql("SELECT user_agent, count(*)::int FROM auth_sessions GROUP BY 1"))


def test_purge_removes_only_what_is_over(register: Register, sql: Sql, purge: Callable[..., int]) -> None:
    register()
    sql("DELETE FROM auth_sessions")
    fill(sql, live=20, over=30)

    removed = purge()

    assert removed == 30
    assert count_by_agent(sql) == {"live": 20}


def test_purge_leaves_a_session_in_its_last_second(
    register: Register, sql: Sql, purge: Callable[..., int]
) -> None:
    register()
    sql("UPDATE auth_sessions SET last_used_at = '2020-01-01', valid_until = now() + interval '1 second'")

    assert purge() == 0


def test_purge_removes_no_more_than_asked_and_the_oldest_first(
    register: Register, sql: Sql, purge: Callable[..., int]
) -> None:
    register()
    fill(sql, live=0, over=30)
    ends = "SELECT valid_until FROM auth_sessions WHERE user_agent = 'over' ORDER BY 1 DESC"
    newest = sql(ends)[:20]

    removed = purge(at_most=10)

    assert removed == 10
    assert sql(ends) == newest


@contextmanager
def locked(settings: Settings, condition: str) -> Iterator[None]:
    """Hold a lock on some sessions."""
    holder = psycopg2.connect(settings.db_url)
    try:
        with holder.cursor() as cur:
            cur.execute(f"SELECT id FROM auth_sessions WHERE {condition} FOR UPDATE")
        yield
        holder.rollback()  # which waits for the server, as closing does not
    finally:
        holder.close()


def test_purge_passes_over_what_is_locked(
    register: Register, settings: Settings, sql: Sql, purge: Callable[..., int]
) -> None:
    register()
    sql("DELETE FROM auth_sessions")
    fill(sql, live=0, over=30)
    begun = time.monotonic()

    with locked(settings, "id % 3 = 0"):
        removed = purge()
        seconds = time.monotonic() - begun

    assert (removed, seconds < 1) == (20, True)
    assert purge() == 10


def test_purge_blocks_no_refresh_and_no_login(
    client: FlaskClient, register: Register, settings: Settings, sql: Sql
) -> None:
    pair = register()
    fill(sql, live=0, over=30)
    other = psycopg2.connect(settings.db_url)

    try:
        with other.cursor() as cur:
            assert sessions.purge(cur, now=datetime.now(timezone.utc), at_most=1000) == 30
            begun = time.monotonic()
            statuses = [
                refresh(client, pair["refresh_token"]).status_code,
                client.post(LOGIN, json={"username": "ada", "password": PASSWORD}).status_code,
                client.get(SESSIONS, headers=bearer(pair["token"])).status_code,
                log_out(client, pair["token"]).status_code,
            ]
            seconds = time.monotonic() - begun
    finally:
        other.close()

    assert statuses == [200, 200, 200, 204]
    assert seconds < 1


def test_purge_command_removes_everything_that_is_over(app: Flask, register: Register, sql: Sql) -> None:
    register()
    fill(sql, live=20, over=2500)
    sql("UPDATE auth_sessions SET user_agent = 'live' WHERE user_agent LIKE 'Werkzeug%%'")

    done = app.test_cli_runner().invoke(args=["purge"])

    assert (done.exit_code, done.output) == (0, "Sessions removed: 2500\n")
    assert count_by_agent(sql) == {"live": 21}


def test_purge_command_with_nothing_to_do_says_so(app: Flask, register: Register) -> None:
    register()

    done = app.test_cli_runner().invoke(args=["purge"])

    assert (done.exit_code, done.output) == (0, "Sessions removed: 0\n")


def test_purge_command_does_not_wait_for_what_is_locked(
    app: Flask, register: Register, settings: Settings, sql: Sql
) -> None:
    register()
    fill(sql, live=0, over=30)

    with locked(settings, "id % 3 = 0"):
        done = app.test_cli_runner().invoke(args=["purge"])

    assert done.output == "Sessions removed: 20\n"


def test_purge_command_without_a_database_fails_with_a_sentence() -> None:
    url = "postgresql://operator:hunter2@/users?host=/nowhere"
    app = create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4))

    done = app.test_cli_runner().invoke(args=["purge"])

    assert done.exit_code == 1
    assert done.output.startswith("Error: cannot connect")
    assert "hunter2" not in done.output


@pytest.mark.parametrize("path", [REGISTER, LOGIN])
def test_sessions_that_are_over_are_removed_beside_logins(
    client: FlaskClient, register: Register, sql: Sql, log_lines: list[dict[str, Any]], path: str
) -> None:
    register()
    fill(sql, live=20, over=30)

    for n in range(PURGE_EVERY):
        body: dict[str, Any] = {"username": "ada", "password": PASSWORD}
        if path == REGISTER:
            body |= {"username": f"u{n}", "email": f"u{n}@example.com"}
        with client.post(path, json=body) as answer:
            assert answer.status_code in (200, 201)

    counts = count_by_agent(sql)
    assert counts.pop("live") == 20
    assert "over" not in counts
    assert sum(counts.values()) == 1 + PURGE_EVERY
    messages = [line["message"] for line in log_lines]
    assert [text for text in messages if text.startswith("sessions_")] == ["sessions_purged count=30"]


def test_purge_beside_logins_keeps_up_with_them() -> None:
    from auth.features.sessions import PURGE_AT_MOST

    assert PURGE_AT_MOST > PURGE_EVERY


def values_of(sql: Sql) -> list[bytes]:
    """Return every value of both tables as bytes."""
    rows = sql("SELECT to_jsonb(users) FROM users") + sql("SELECT to_jsonb(auth_sessions) FROM auth_sessions")
    texts = [str(value) for (row,) in rows for value in row.values()]
    return [bytes.fromhex(text[2:]) if text.startswith("\\x") else text.encode() for text in texts if text]


def dump_of(sql: Sql) -> str:
    """Return both tables as text, with every value as it is, in hex and in both alphabets of base64."""
    everything = sql("SELECT users::text FROM users") + stored(sql)
    lines = [row[0] for row in everything]
    for value in values_of(sql):
        lines += [value.decode("latin-1"), value.hex(), value.hex().upper()]
        lines += [base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode()]
    return "\n".join(lines)


@pytest.fixture
def pairs(client: FlaskClient, register: Register) -> list[dict[str, Any]]:
    """Every pair of two sessions, one of them refreshed."""
    first, second = register(), log_in(client)
    third = refreshed(client, second)
    return [first, second, third, refreshed(client, third)]


def test_dump_contains_no_token(pairs: list[dict[str, Any]], sql: Sql) -> None:
    dump = dump_of(sql)

    for pair in pairs:
        raw = base64.urlsafe_b64decode(pair["refresh_token"])
        encodings = [raw.hex(), raw[16:].hex(), raw[:16].hex()]
        encodings += [base64.b64encode(part).decode().rstrip("=") for part in (raw, raw[16:], raw[:16])]
        secrets = [pair["token"], pair["token"].rpartition(".")[2], pair["refresh_token"], *encodings]
        assert not [secret for secret in secrets if secret in dump]
    assert raw[16:].hex() not in dump
    assert PASSWORD not in dump


def test_nothing_in_a_dump_is_taken_for_a_refresh_token(
    client: FlaskClient, pairs: list[dict[str, Any]], sql: Sql
) -> None:
    values = values_of(sql)
    parts = {value[at : at + 16] for value in values for at in range(0, len(value), 16)}
    handles = {part for part in parts if len(part) == 16}
    secrets = {value for value in values if len(value) == 32}
    candidates = {base64.urlsafe_b64encode(value).decode() for value in values}
    candidates |= {value.hex() for value in values} | {value.decode("latin-1") for value in values}
    pieces = itertools.product(handles, secrets)
    candidates |= {base64.urlsafe_b64encode(handle + secret).decode() for handle, secret in pieces}
    before = stored(sql)

    answers = [refresh(client, candidate) for candidate in candidates if "\0" not in candidate]

    assert len(answers) > 50
    assert {answer.status_code for answer in answers} == {401}
    assert stored(sql) == before
    assert refresh(client, pairs[-1]["refresh_token"]).status_code == 200


def test_hashes_of_a_dump_are_those_of_fast_but_random_secrets(pairs: list[dict[str, Any]], sql: Sql) -> None:
    lengths = sql("SELECT DISTINCT length(handle_hash), length(token_hash) FROM auth_sessions")

    assert lengths == [(32, 32)]
    assert len({base64.urlsafe_b64decode(pair["refresh_token"])[16:] for pair in pairs}) == 4


class Recorded:
    """A service on a database of a PostgreSQL that logs every statement it receives."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self._log = url, log
        self.app = create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4))
        self.client = self.app.test_client()
        body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
        assert self.client.post(REGISTER, json=body).status_code == 201

    def statements(self, call: Callable[[], object]) -> list[str]:
        """Return the statements that reach PostgreSQL from a service during `call`, which must succeed.

        Without what goes before a write in the same message.
        """
        before = len(self._log.read_text())
        answer = call()
        assert getattr(answer, "status_code", 200) < 400
        said = self._log.read_text()[before:]
        found = re.findall(r"(?m)^user-service LOG: {2}statement: (.*(?:\n\t.*)*)", said)
        statements = [re.sub(r"\A\s*SELECT set_config\([^;]*;", "", statement) for statement in found]
        return [statement.replace("\n\t", "\n").strip() for statement in statements]

    def close(self) -> None:
        self.app.extensions["auth"].database.close()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Recorded]]:
    """Make a recorded service on a new database of that name."""
    folder = tmp_path_factory.mktemp("logged")
    options = ("-c", "log_statement=all", "-c", "log_line_prefix=%a ")
    made = []

    with embedded_postgres.running(folder / "postgres", *options) as server:

        def make(name: str) -> Recorded:
            run_sql(server.url, f"CREATE DATABASE {name}")
            made.append(Recorded(on_database(server.url, name), folder / "postgres.log"))
            return made[-1]

        yield make
        for recorded in made:
            recorded.close()


@pytest.fixture(scope="module")
def recorded(record: Callable[[str], Recorded]) -> Recorded:
    return record("recorded")


def test_register_is_one_statement(recorded: Recorded) -> None:
    body = BOB | {"password": PASSWORD}

    found = recorded.statements(lambda: recorded.client.post(REGISTER, json=body))

    assert [statement.split()[0] for statement in found] == ["WITH"]


def test_login_is_one_select_and_one_insert(recorded: Recorded) -> None:
    found = recorded.statements(lambda: log_in(recorded.client))

    assert [statement.split()[0] for statement in found] == ["SELECT", "INSERT"]


def test_guarded_calls_are_one_statement_each(recorded: Recorded) -> None:
    client, pair = recorded.client, log_in(recorded.client)
    other = log_in(client)
    headers = bearer(pair["token"])
    calls: list[Callable[[], TestResponse]] = [
        lambda: client.get(ME, headers=headers),
        lambda: client.get(SESSIONS, headers=headers),
        lambda: client.delete(f"{SESSIONS}/{sid(other)}", headers=headers),
    ]

    assert [len(recorded.statements(call)) for call in calls] == [1] * 3


def test_change_of_a_name_is_one_select_and_one_update(recorded: Recorded) -> None:
    client, headers = recorded.client, bearer(log_in(recorded.client)["token"])

    changed = recorded.statements(lambda: client.patch(ME, json={"first_name": "Augusta"}, headers=headers))
    same = recorded.statements(lambda: client.patch(ME, json={"first_name": "Augusta"}, headers=headers))

    assert [re.findall("SELECT password|UPDATE users", text) for text in changed] == [
        ["SELECT password"],
        ["UPDATE users"],
    ]
    assert [re.findall("SELECT password|UPDATE users", text) for text in same] == [["SELECT password"]]


def test_refresh_and_logout_are_one_statement_each(recorded: Recorded) -> None:
    client, pair = recorded.client, log_in(recorded.client)

    found = recorded.statements(lambda: refreshed(client, pair))
    found += recorded.statements(lambda: log_out(client, pair["token"]))

    assert [statement.split()[0] for statement in found] == ["UPDATE", "DELETE"]


USERS, ROWS = 100_000, 1_000_000
FEW_USERS, FEW_ROWS = 50, 500


def fill_up(url: str, *, user_count: int, rows: int) -> None:
    """Fill a database as a restore does: rows first, then keys and indexes, word for word."""
    run_sql(
        url,
        "INSERT INTO users (username, email, password)"
        " SELECT 'u' || n, 'u' || n || '@example.com', 'x' FROM generate_series(1, %s) AS n",
        user_count,
    )
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
    run_sql(
        url,
        "INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at, valid_until,"
        " expires_at, ip, user_agent) SELECT 2 + n %% %s, sha256(('h' || n)::bytea), sha256('t'::bytea),"
        " now(), now(), now() + interval '1 day' + n * interval '1 second', now() + interval '30 days',"
        " '203.0.113.9', 'Firefox' FROM generate_series(1, %s) AS n",
        user_count,
        rows,
    )
    for name, definition in keys:
        run_sql(url, f"ALTER TABLE auth_sessions ADD CONSTRAINT {name} {definition}")
    for _, definition in indexes:
        run_sql(url, definition)
    run_sql(url, "VACUUM ANALYZE")


@pytest.fixture(scope="module")
def many(record: Callable[[str], Recorded]) -> Recorded:
    """A service with a million sessions."""
    made = record("many")
    fill_up(made.url, user_count=USERS, rows=ROWS)
    return made


@pytest.fixture(scope="module")
def few(record: Callable[[str], Recorded]) -> Recorded:
    made = record("few")
    fill_up(made.url, user_count=FEW_USERS, rows=FEW_ROWS)
    return made


def plan_of(url: str, statements: list[str]) -> list[dict[str, Any]]:
    """Return every node of the plans of some statements."""
    parts = [part for statement in statements for part in statement.split(";") if part.strip()]
    queries = [part for part in parts if part.split()[0] in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")]
    found: list[dict[str, Any]] = []
    pending = [run_sql(url, f"EXPLAIN (FORMAT JSON) {query}")[0][0][0]["Plan"] for query in queries]
    while pending:
        node = pending.pop()
        found.append(node)
        pending += node.get("Plans", [])
    return found


COSTS: dict[str, Callable[[FlaskClient, dict[str, Any]], object]] = {
    "me": lambda client, pair: me(client, pair["token"]),
    "login": lambda client, _: log_in(client),
    "refresh": lambda client, pair: refreshed(client, pair),
    "refresh twice": lambda client, pair: refreshed(client, pair) and refreshed(client, pair),
    "list": lambda client, pair: listed(client, pair["token"]),
    "logout": lambda client, pair: log_out(client, pair["token"]),
    "logout by refresh token": (
        lambda client, pair: log_out(client, json={"refresh_token": pair["refresh_token"]})
    ),
    "end one": lambda client, pair: delete(client, pair["token"], sid(pair)),
    "end others": lambda client, pair: delete(client, pair["token"]),
    "change": lambda client, pair: client.patch(ME, json={"firstName": "A"}, headers=bearer(pair["token"])),
    "purge": lambda client, _: client.application.test_cli_runner().invoke(args=["purge"]),
}


def recorded_call(service: Recorded, what: str) -> tuple[list[str], int]:
    """Return the statements of a call in a new session, and the session's id."""
    pair = log_in(service.client)
    return service.statements(lambda: COSTS[what](service.client, pair)), sid(pair)


@pytest.mark.parametrize("what", COSTS)
def test_million_sessions_are_read_by_index(many: Recorded, what: str) -> None:
    statements, _ = recorded_call(many, what)

    nodes = plan_of(many.url, statements)
    read = {node["Node Type"] for node in nodes if node.get("Relation Name") in ("users", "auth_sessions")}
    assert read & {"Index Scan", "Bitmap Heap Scan"}
    assert read <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan", "ModifyTable"}
    assert max(node["Plan Rows"] for node in nodes) < 1000


def seconds_of(conn: connection, statement: str) -> float:
    """Return how long a statement that finds one row takes; what it does is undone."""
    with conn.cursor() as cur:
        begun = time.perf_counter()
        cur.execute(statement)
        seconds = time.perf_counter() - begun
        assert cur.rowcount == 1
    conn.rollback()
    return seconds


@pytest.mark.parametrize("what", ["me", "refresh"])
def test_million_sessions_do_not_change_the_cost(many: Recorded, few: Recorded, what: str) -> None:
    seconds: dict[str, list[float]] = {many.url: [], few.url: []}
    statements = {}
    for service in (many, few):
        [statements[service.url]], session_id = recorded_call(service, what)
        # The statement of a refresh is to find its token again.
        again = "UPDATE auth_sessions SET token_hash = COALESCE(previous_hash, token_hash) WHERE id = %s"
        run_sql(service.url, again, session_id)

    with closing(psycopg2.connect(many.url)) as one, closing(psycopg2.connect(few.url)) as another:
        for _ in range(300):
            seconds[many.url].append(seconds_of(one, statements[many.url]))
            seconds[few.url].append(seconds_of(another, statements[few.url]))

    ratio = statistics.median(seconds[many.url]) / statistics.median(seconds[few.url])
    assert ratio < 1.5
