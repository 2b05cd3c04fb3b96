"""PUT /api/auth/me/password."""

import unicodedata
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support import PASSWORD
from tests.support.access_tokens import without_session
from tests.support.actor import (
    ME_PASSWORD,
    NEW_PASSWORD,
    REFRESH_INVALID,
    TOKEN_INVALID,
    VALIDATION_FAILED,
    WRONG_PASSWORD,
    Actor,
    ClientOf,
    refusal,
)
from tests.support.database import Sql
from tests.support.rows import DAY, stored

PAIR = {"token", "type", "expires_in", "refresh_token", "refresh_expires_in"}
NFC = unicodedata.normalize("NFC", "sch\u00f6ne Gr\u00fc\u00dfe")
NFD = unicodedata.normalize("NFD", NFC)


def changed(user: Actor) -> Actor:
    """Change the password and return the same user with the tokens of the answer."""
    answer = user.change_password()
    assert answer.status_code == 200, answer.text
    return user.holding(answer.get_json())


def test_change_answers_with_a_new_pair(ada: Actor) -> None:
    answer = ada.change_password()

    body = answer.get_json()
    assert (answer.status_code, body.keys()) == (200, PAIR)
    assert (body["type"], body["expires_in"], body["refresh_expires_in"]) == ("Bearer", 3600, 14 * DAY)
    assert body["token"] != ada.token
    assert body["refresh_token"] != ada.refresh_token
    assert ada.me(body["token"]).status_code == 200
    assert ada.try_refresh(body["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(NEW_PASSWORD, id="plain"),
        pytest.param("x" * 7 + "y", id="shortest"),
        pytest.param("x" * 256, id="longest"),
        pytest.param("\U0001f600" * 256, id="longest in bytes"),
        pytest.param(f" {PASSWORD} ", id="old one with space"),
        pytest.param(PASSWORD.upper(), id="old one in another case"),
        pytest.param(NFD, id="decomposed"),
    ],
)
def test_change_replaces_the_password(ada: Actor, sql: Sql, new: str) -> None:
    answer = ada.change_password(new)

    assert answer.status_code == 200
    assert ada.try_log_in(password=unicodedata.normalize("NFC", new)).status_code == 200
    assert ada.try_log_in().status_code == 401
    assert sql("SELECT password FROM users")[0][0].startswith("$2b$04$")


def test_change_ends_every_session_at_once(client: FlaskClient, ada: Actor, sql: Sql) -> None:
    bob = Actor(client, "bob").register()
    devices = [ada, ada.elsewhere(), ada.elsewhere(), ada.elsewhere()]

    changed_user = changed(devices[-1])

    assert {refusal(device.me()) for device in devices} == {TOKEN_INVALID}
    assert {refusal(device.try_refresh()) for device in devices} == {REFRESH_INVALID}
    assert changed_user.is_live()
    assert changed_user.try_refresh().status_code == 200
    assert bob.is_live()
    assert sql("SELECT id FROM auth_sessions ORDER BY id") == [(bob.session_id,), (changed_user.session_id,)]


def test_change_ends_the_refresh_token_before_the_current_one(ada: Actor) -> None:
    """A token that was just replaced gets its successor again, but not after a change of the password."""
    current = ada.holding(ada.pair).refresh()

    changed_user = changed(current)

    assert refusal(ada.try_refresh()) == REFRESH_INVALID
    assert changed_user.is_live()


def test_change_opens_a_session_like_that_of_a_login(client_of: ClientOf, ada: Actor, sql: Sql) -> None:
    sql("UPDATE auth_sessions SET expires_at = now() + interval '50 s', ip = '', user_agent = 'old'")
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    earliest = datetime.now(timezone.utc)
    user = ada.through(client_of(refresh_expires_seconds=100, session_max_seconds=200))

    answer = user.send("PUT", ME_PASSWORD, body, headers={"User-Agent": "new"})

    pair = answer.get_json()
    assert (pair["expires_in"], pair["refresh_expires_in"]) == (100, 100)
    columns = "id, created_at, last_used_at, valid_until, expires_at, ip, user_agent"
    [(session_id, created_at, last_used_at, idle_expires_at, expires_at, *client)] = sql(
        f"SELECT {columns} FROM auth_sessions"
    )
    assert session_id == ada.holding(pair).session_id != ada.session_id
    assert earliest <= created_at == last_used_at <= datetime.now(timezone.utc)
    assert (idle_expires_at - created_at, expires_at - created_at) == (
        timedelta(seconds=100),
        timedelta(seconds=200),
    )
    assert client == ["127.0.0.1", "new"]


def test_change_with_a_token_without_session_opens_the_only_session(ada: Actor, sql: Sql) -> None:
    ada.elsewhere()
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}

    answer = ada.send("PUT", ME_PASSWORD, body, token=without_session(ada.id), headers={"User-Agent": "old"})

    changed_user = ada.holding(answer.get_json())
    assert answer.status_code == 200
    assert sql("SELECT user_agent FROM auth_sessions") == [("old",)]
    assert not ada.is_live()
    assert changed_user.is_live()
    assert changed_user.try_refresh().status_code == 200


def test_change_with_a_wrong_password_is_403_and_changes_nothing(ada: Actor, sql: Sql) -> None:
    phone = ada.elsewhere()
    before = stored(sql)

    answer = ada.change_password(current_password=WRONG_PASSWORD)

    assert refusal(answer) == (403, "wrong_password", None)
    assert answer.get_json()["error"] == "The current password is not right."
    assert stored(sql) == before
    assert phone.is_live()


@pytest.mark.parametrize(
    ("sent", "bad"),
    [
        pytest.param({"current_password": ""}, {"current_password"}, id="empty current"),
        pytest.param({"current_password": None}, {"current_password"}, id="null current"),
        pytest.param({"current_password": 12345678}, {"current_password"}, id="current of a number"),
        pytest.param({"new_password": ""}, {"new_password"}, id="empty new"),
        pytest.param({"new_password": None}, {"new_password"}, id="null new"),
        pytest.param({"new_password": ["battery staple"]}, {"new_password"}, id="new in a list"),
        pytest.param({"new_password": "x" * 7}, {"new_password"}, id="short"),
        pytest.param({"new_password": "x" * 257}, {"new_password"}, id="long"),
        pytest.param({"new_password": "battery\0staple"}, {"new_password"}, id="NUL"),
        pytest.param({"new_password": "battery\ud800staple"}, {"new_password"}, id="lone surrogate"),
        pytest.param({"new_password": PASSWORD}, {"new_password"}, id="the old one"),
        pytest.param({"current_password": NFC, "new_password": NFD}, {"new_password"}, id="decomposed"),
        pytest.param(
            {"current_password": None, "new_password": "x"}, {"current_password", "new_password"}, id="both"
        ),
    ],
)
def test_change_with_bad_fields_is_400_that_names_each(
    ada: Actor, sql: Sql, sent: dict[str, Any], bad: set[str]
) -> None:
    before = stored(sql)

    answer = ada.send("PUT", ME_PASSWORD, {"current_password": PASSWORD, "new_password": NEW_PASSWORD} | sent)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == bad
    assert stored(sql) == before


@pytest.mark.parametrize(
    ("length", "status"), [pytest.param(14, 400, id="too short"), pytest.param(15, 200, id="shortest")]
)
def test_change_follows_the_setting_for_the_shortest_password(
    client_of: ClientOf, ada: Actor, length: int, status: int
) -> None:
    strict = ada.through(client_of(password_min_length=15))

    answer = strict.change_password("x" * length)

    assert answer.status_code == status
