"""GET /api/auth/sessions."""

from typing import Any

from flask.testing import FlaskClient

from tests.support.access_tokens import without_session
from tests.support.actor import LOGIN, Actor
from tests.support.database import Sql
from tests.support.rows import DAY, elapse

CREATED_AT, LAST_USED_AT = "2026-01-02 03:04:05.678901Z", "2026-01-03 00:00Z"
IDLE_EXPIRES_AT, EXPIRES_AT = "2126-01-01 00:00Z", "2126-02-01 02:00:00+02"


def listed(user: Actor, token: str | None = None) -> list[dict[str, Any]]:
    answer = user.sessions(token)
    assert answer.status_code == 200, answer.text
    assert answer.get_json().keys() == {"sessions"}
    rows: list[dict[str, Any]] = answer.get_json()["sessions"]
    return rows


def test_list_describes_the_session(client: FlaskClient, ada: Actor, sql: Sql) -> None:
    sql("DELETE FROM auth_sessions")
    credentials = {"username": ada.username, "password": ada.password}
    ada.pair = client.post(
        LOGIN,
        json=credentials,
        headers={"User-Agent": "Firefox"},
        environ_base={"REMOTE_ADDR": "198.51.100.7"},
    ).get_json()
    sql(
        "UPDATE auth_sessions SET created_at = %s, last_used_at = %s, valid_until = %s, expires_at = %s",
        CREATED_AT,
        LAST_USED_AT,
        IDLE_EXPIRES_AT,
        EXPIRES_AT,
    )

    rows = listed(ada)

    assert rows == [
        {
            "id": ada.session_id,
            "created_at": "2026-01-02T03:04:05.678Z",
            "last_used_at": "2026-01-03T00:00:00.000Z",
            "expires_at": "2126-02-01T00:00:00.000Z",
            "ip": "198.51.100.7",
            "user_agent": "Firefox",
            "current": True,
        }
    ]


def test_list_is_newest_first_and_marks_the_current_session(ada: Actor) -> None:
    phone, tablet = ada.elsewhere(), ada.elsewhere()
    ada.refresh()

    rows = listed(phone)

    assert [(row["id"], row["current"]) for row in rows] == [
        (tablet.session_id, False),
        (phone.session_id, True),
        (ada.session_id, False),
    ]


def test_list_follows_the_time_of_login(ada: Actor, sql: Sql) -> None:
    phone = ada.elsewhere()
    sql("UPDATE auth_sessions SET created_at = created_at - interval '1 day' WHERE id = %s", phone.session_id)

    rows = listed(ada)

    assert [row["id"] for row in rows] == [ada.session_id, phone.session_id]


def test_list_leaves_out_other_users(client: FlaskClient, ada: Actor) -> None:
    Actor(client, "bob").register()

    rows = listed(ada)

    assert [row["id"] for row in rows] == [ada.session_id]


def test_list_leaves_out_expired_sessions(ada: Actor, sql: Sql) -> None:
    phone = ada.elsewhere()
    sql("UPDATE auth_sessions SET valid_until = now() - interval '1 ms' WHERE id = %s", ada.session_id)
    tablet = ada.elsewhere()

    rows = listed(phone)

    assert [row["id"] for row in rows] == [tablet.session_id, phone.session_id]


def test_list_with_a_token_without_session_marks_none(ada: Actor) -> None:
    rows = listed(ada, without_session(ada.id))

    assert [(row["id"], row["current"]) for row in rows] == [(ada.session_id, False)]


def test_list_with_a_token_without_session_may_be_empty(ada: Actor, sql: Sql) -> None:
    sql("DELETE FROM auth_sessions")

    rows = listed(ada, without_session(ada.id))

    assert rows == []


def test_list_shows_the_time_of_the_last_refresh(ada: Actor, sql: Sql) -> None:
    elapse(sql, DAY)
    [before] = listed(ada)

    ada.refresh()

    [after] = listed(ada)
    assert after["last_used_at"] > before["last_used_at"]
    assert after | {"last_used_at": ""} == before | {"last_used_at": ""}


def test_list_has_at_most_200_sessions(ada: Actor, sql: Sql) -> None:
    sql(
        "INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at, valid_until,"
        " expires_at, ip, user_agent) SELECT 1, sha256(n::text::bytea), '', now(), now(),"
        " now() + interval '1 day', now() + interval '1 day', '', '' FROM generate_series(1, 300) AS n"
    )

    rows = listed(ada)

    assert len(rows) == 200
