"""PUT /api/auth/me/password."""

import time
import unicodedata
from datetime import datetime
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
        pytest.param("x" * 8, id="shortest"),
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


def test_change_ends_every_other_session_at_once(client: FlaskClient, ada: Actor, sql: Sql) -> None:
    bob = Actor(client, "bob").register()
    others, current = [ada, ada.elsewhere(), ada.elsewhere()], ada.elsewhere()

    changed_user = changed(current)

    assert {refusal(other.me()) for other in others} == {TOKEN_INVALID}
    assert {refusal(other.try_refresh()) for other in others} == {REFRESH_INVALID}
    assert changed_user.is_live()
    assert bob.is_live()
    assert len(sql("SELECT id FROM auth_sessions")) == 2


def test_change_continues_the_current_session(ada: Actor, sql: Sql) -> None:
    columns = "id, created_at, expires_at, ip, user_agent"
    before = sql(f"SELECT {columns} FROM auth_sessions")

    changed_user = changed(ada)

    assert sql(f"SELECT {columns} FROM auth_sessions") == before
    assert changed_user.session_id == before[0][0]


def test_change_ends_the_refresh_token_of_the_current_session(ada: Actor) -> None:
    changed_user = changed(ada)

    assert refusal(ada.try_refresh()) == REFRESH_INVALID
    assert changed_user.try_refresh().status_code == 200


def test_change_does_not_prolong_the_session(ada: Actor, sql: Sql) -> None:
    sql("UPDATE auth_sessions SET expires_at = now() + interval '100 seconds'")

    pair = changed(ada).pair

    assert 95 <= pair["expires_in"] <= 100
    assert 95 <= pair["refresh_expires_in"] <= 100
    assert sql("SELECT valid_until = expires_at FROM auth_sessions") == [(True,)]


def test_change_is_a_use_of_the_session(ada: Actor, sql: Sql) -> None:
    sql("UPDATE auth_sessions SET last_used_at = now() - interval '1 day'")

    ada.change_password()

    last_used_at: datetime = sql("SELECT last_used_at FROM auth_sessions")[0][0]
    assert abs(last_used_at.timestamp() - time.time()) < 5


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
