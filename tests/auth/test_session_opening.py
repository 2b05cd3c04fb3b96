"""Registration and login open a session: its tokens, and what is stored of it."""

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support import PASSWORD
from tests.support.access_tokens import claims_of
from tests.support.actor import BOB, LOGIN, REGISTER, WRONG_PASSWORD, Actor, ClientOf
from tests.support.database import Sql
from tests.support.rows import DAY, session_ids, stored

PAIR = {"token", "type", "expires_in", "refresh_token", "refresh_expires_in"}
LOGIN_BODY = {"username": "ada", "password": PASSWORD}
PEER = "198.51.100.7"


def test_register_and_login_answer_with_both_tokens(ada: Actor) -> None:
    registered = ada.pair

    logged_in = ada.try_log_in().get_json()

    assert registered.keys() == PAIR | {"message", "userId", "username", "user"}
    assert logged_in.keys() == PAIR | {"user"}
    for body in (registered, logged_in):
        assert re.fullmatch("[A-Za-z0-9_-]{43,}", body["refresh_token"])
        assert (body["expires_in"], body["refresh_expires_in"]) == (3600, 14 * DAY)
    assert registered["refresh_token"] != logged_in["refresh_token"]


def test_register_and_login_open_a_session_each(ada: Actor, sql: Sql) -> None:
    phone = ada.elsewhere()

    rows = sql("SELECT id, user_id FROM auth_sessions ORDER BY id")
    assert rows == [(ada.session_id, ada.id), (phone.session_id, ada.id)]
    assert type(claims_of(ada.token)["sid"]) is int


def test_session_is_stored_with_its_times(client_of: ClientOf, ada: Actor, sql: Sql) -> None:
    sql("DELETE FROM auth_sessions")
    earliest = datetime.now(timezone.utc)

    ada.through(client_of(refresh_expires_seconds=60, session_max_seconds=90)).log_in()

    [times] = sql("SELECT created_at, last_used_at, valid_until, expires_at FROM auth_sessions")
    created_at, last_used_at, idle_expires_at, expires_at = times
    assert earliest <= created_at <= datetime.now(timezone.utc)
    assert last_used_at == created_at
    assert idle_expires_at - created_at == timedelta(seconds=60)
    assert expires_at - created_at == timedelta(seconds=90)


@pytest.mark.parametrize("path", [pytest.param(REGISTER, id="register"), pytest.param(LOGIN, id="login")])
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
    client: FlaskClient, ada: Actor, sql: Sql, path: str, sent: str, kept: str
) -> None:
    body = LOGIN_BODY if path == LOGIN else BOB | {"password": PASSWORD}

    answer = client.post(path, json=body, headers={"User-Agent": sent})

    assert answer.status_code in (200, 201)
    assert sql("SELECT user_agent FROM auth_sessions ORDER BY id DESC LIMIT 1") == [(kept,)]


@pytest.mark.parametrize(
    ("trusted", "headers", "kept"),
    [
        pytest.param(0, {}, PEER, id="no proxy"),
        pytest.param(0, {"X-Forwarded-For": "203.0.113.9"}, PEER, id="no proxy, forged"),
        pytest.param(1, {"X-Forwarded-For": "203.0.113.9"}, "203.0.113.9", id="one proxy"),
        pytest.param(
            1, {"X-Forwarded-For": "1.2.3.4, 203.0.113.9"}, "203.0.113.9", id="one proxy, one forged"
        ),
        pytest.param(
            1, {"X-Forwarded-For": "5.6.7.8,1.2.3.4, 203.0.113.9"}, "203.0.113.9", id="one proxy, two forged"
        ),
        pytest.param(1, {}, PEER, id="one proxy that says nothing"),
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
        pytest.param(2, {"X-Forwarded-For": "1.2.3.4"}, PEER, id="two proxies, one passed by"),
        pytest.param(
            0,
            {"X-Real-Ip": "1.2.3.4", "Forwarded": "for=1.2.3.4", "Client-Ip": "1.2.3.4"},
            PEER,
            id="other headers, no proxy",
        ),
        pytest.param(
            1,
            {"X-Real-Ip": "1.2.3.4", "Forwarded": "for=1.2.3.4", "Client-Ip": "1.2.3.4"},
            PEER,
            id="other headers, one proxy",
        ),
    ],
)
def test_session_keeps_the_address_that_cannot_be_forged(
    client_of: ClientOf, ada: Actor, sql: Sql, trusted: int, headers: dict[str, str], kept: str
) -> None:
    client = client_of(trusted_proxies=trusted)

    answer = client.post(LOGIN, json=LOGIN_BODY, headers=headers, environ_base={"REMOTE_ADDR": PEER})

    assert answer.status_code == 200
    assert sql("SELECT ip FROM auth_sessions ORDER BY id DESC LIMIT 1") == [(kept,)]


def test_session_keeps_no_address_that_is_malformed(client: FlaskClient, ada: Actor, sql: Sql) -> None:
    answer = client.post(LOGIN, json=LOGIN_BODY, environ_base={"REMOTE_ADDR": "<script>"})

    assert answer.status_code == 200
    assert sql("SELECT ip FROM auth_sessions ORDER BY id") == [("127.0.0.1",), ("",)]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param(LOGIN, LOGIN_BODY | {"password": WRONG_PASSWORD}, 401, id="login"),
        pytest.param(REGISTER, BOB | LOGIN_BODY, 409, id="registration"),
    ],
)
def test_refused_call_opens_no_session(
    client: FlaskClient, ada: Actor, sql: Sql, path: str, body: dict[str, Any], status: int
) -> None:
    before = stored(sql)

    answer = client.post(path, json=body)

    assert answer.status_code == status
    assert stored(sql) == before
    assert session_ids(sql) == [ada.session_id]
