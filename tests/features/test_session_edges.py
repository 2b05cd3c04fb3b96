"""Sessions where two clocks, two keys or two ways to name one meet."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import jwt
import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from auth import sessions
from auth.tokens import refresh as refresh_tokens
from auth.tokens.refresh import RefreshToken
from config import Settings
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import Register
from tests.support.database import Sql

REFRESH, LOGOUT, ME = "/api/auth/refresh", "/api/auth/logout", "/api/auth/me"


def parsed(text: str) -> RefreshToken:
    token = refresh_tokens.parse(text)
    assert token
    return token


def bearer(**claims: object) -> dict[str, str]:
    payload = {"exp": int(time.time()) + 60} | claims
    return {"Authorization": f"Bearer {jwt.encode(payload, SECRET_KEY, algorithm='HS256')}"}


def refresh(client: FlaskClient, token: str) -> Any:
    return client.post(REFRESH, json={"refresh_token": token})


def test_refresh_that_waited_for_the_database_leaves_the_whole_window(
    app: Flask, client: FlaskClient, register: Register
) -> None:
    old = parsed(register()["refresh_token"])
    salt = b"s" * 32
    asked_at = datetime.now(timezone.utc) - timedelta(seconds=60)
    app.extensions["auth"].database.write(
        sessions.rotate,
        handle_hash=old.selector_hash(),
        old_hash=old.hash(),
        new_hash=old.successor(salt=salt, key=SECRET_KEY).hash(),
        salt=salt,
        now=asked_at,
        valid_until=asked_at + timedelta(days=1),
    )

    answer = refresh(client, old.text())

    assert answer.status_code == 200
    assert answer.get_json()["refresh_token"] == old.successor(salt=salt, key=SECRET_KEY).text()


def test_replaced_token_at_a_service_with_another_key_ends_nothing(
    client: FlaskClient, register: Register, settings: Settings
) -> None:
    old = register()["refresh_token"]
    current = refresh(client, old).get_json()["refresh_token"]
    other = create_app(replace(settings, secret_key=SECRET_KEY + "2")).test_client()

    refused = refresh(other, old)

    assert (refused.status_code, refused.get_json()["code"]) == (401, "refresh_invalid")
    assert refresh(client, current).status_code == 200


def test_logout_of_a_token_without_session_ends_that_of_the_refresh_token(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    body = {"refresh_token": register()["refresh_token"]}

    answer = client.post(LOGOUT, json=body, headers=bearer(id=1))

    assert answer.status_code == 204
    assert sql("SELECT id FROM auth_sessions") == []


def test_logout_does_not_end_the_session_of_another_user(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    register()
    register(username="bob", email="bob@example.com")

    answer = client.post(LOGOUT, headers=bearer(id=1, sid=2))

    assert answer.status_code == 204
    assert sql("SELECT id FROM auth_sessions ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize(
    "request_body",
    [
        pytest.param({"data": "a=b"}, id="form"),
        pytest.param({"data": "{", "content_type": "application/json"}, id="malformed"),
    ],
)
def test_logout_with_a_bearer_token_does_not_care_for_the_body(
    client: FlaskClient, register: Register, sql: Sql, request_body: dict[str, str]
) -> None:
    headers = {"Authorization": f"Bearer {register()['token']}"}

    answer = client.post(LOGOUT, headers=headers, **request_body)

    assert answer.status_code == 204
    assert sql("SELECT id FROM auth_sessions") == []


def test_session_that_is_over_but_not_removed_cannot_be_ended(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    register()
    token = client.post("/api/auth/login", json={"username": "ada", "password": PASSWORD}).get_json()["token"]
    sql("UPDATE auth_sessions SET valid_until = now() WHERE id = 1")

    answer = client.delete("/api/auth/sessions/1", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 404


def test_list_of_sessions_has_an_end(client: FlaskClient, register: Register, sql: Sql) -> None:
    token = register()["token"]
    sql(
        "INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at, valid_until,"
        " expires_at, ip, user_agent) SELECT 1, sha256(n::text::bytea), '', now(), now(),"
        " now() + interval '1 day', now() + interval '1 day', '', '' FROM generate_series(1, 300) AS n"
    )

    answer = client.get("/api/auth/sessions", headers={"Authorization": f"Bearer {token}"})

    assert len(answer.get_json()["sessions"]) == 200


def test_address_that_is_none_is_not_kept(client: FlaskClient, register: Register, sql: Sql) -> None:
    register()

    client.post(
        "/api/auth/login",
        json={"username": "ada", "password": PASSWORD},
        environ_base={"REMOTE_ADDR": "<script>"},
    )

    assert sql("SELECT ip FROM auth_sessions ORDER BY id") == [("127.0.0.1",), ("",)]


def test_email_that_is_sent_as_it_is_stored_is_left_out_of_the_change(
    client: FlaskClient, register: Register, sql: Sql
) -> None:
    token = register()["token"]
    # Fires when the statement names the column, whatever the value: by then it may have changed elsewhere.
    sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'named'; END$$")
    sql("CREATE TRIGGER named BEFORE UPDATE OF email, username ON users EXECUTE FUNCTION refuse()")
    try:
        answer = client.patch(
            ME,
            json={"email": "ada@example.com", "username": "ada", "first_name": "Ada"},
            headers={"Authorization": f"Bearer {token}"},
        )
    finally:
        sql("DROP FUNCTION refuse CASCADE")

    assert (answer.status_code, answer.get_json()["first_name"]) == (200, "Ada")


def test_two_sessions_that_end_each_other_leave_one(
    app: Flask, register: Register, settings: Settings, sql: Sql
) -> None:
    tokens = [register()["token"]]
    login = {"username": "ada", "password": PASSWORD}
    tokens.append(app.test_client().post("/api/auth/login", json=login).get_json()["token"])

    def revoke_others(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return app.test_client().delete("/api/auth/sessions", headers=headers).status_code

    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    other = psycopg2.connect(settings.db_url)
    with ThreadPoolExecutor(2) as threads:
        with other.cursor() as cur:
            cur.execute("SELECT FROM auth_sessions FOR UPDATE")
        answers = [threads.submit(revoke_others, token) for token in tokens]
        deadline = time.monotonic() + 2
        while len(sql(waiting)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        other.close()

        statuses = sorted(answer.result() for answer in answers)

    assert statuses == [204, 401]
    assert len(sql("SELECT id FROM auth_sessions")) == 1
