"""POST /api/auth/logout, with the access token or with the refresh token."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.access_tokens import EXPIRED, without_session
from tests.support.actor import LOGOUT, REFRESH_INVALID, Actor, bearer, refusal
from tests.support.database import Sql
from tests.support.rows import session_ids, stored


def test_logout_ends_the_session_of_the_token(ada: Actor, sql: Sql) -> None:
    phone = ada.elsewhere()

    answer = phone.log_out()

    assert (answer.status_code, answer.data) == (204, b"")
    assert not phone.is_live()
    assert refusal(phone.try_refresh()) == REFRESH_INVALID
    assert ada.is_live()
    assert session_ids(sql) == [ada.session_id]


def test_logout_again_is_204(ada: Actor) -> None:
    statuses = [ada.log_out().status_code for _ in range(3)]

    assert statuses == [204] * 3


def test_logout_with_the_token_of_another_users_session_ends_nothing(
    client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    bob = Actor(client, "bob").register()
    forged = without_session(ada.id, sid=bob.session_id)

    answer = ada.log_out(token=forged)

    assert answer.status_code == 204
    assert session_ids(sql) == [ada.session_id, bob.session_id]


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(EXPIRED, id="expired access token"),
        pytest.param("nonsense", id="invalid access token"),
        pytest.param("", id="no access token"),
    ],
)
def test_logout_with_the_refresh_token_ends_its_session(ada: Actor, token: str) -> None:
    phone = ada.elsewhere()
    body = {"refresh_token": phone.refresh_token}

    statuses = [phone.log_out(body, token=token).status_code for _ in range(2)]

    assert statuses == [204, 204]
    assert not phone.is_live()
    assert refusal(phone.try_refresh()) == REFRESH_INVALID
    assert ada.is_live()


def test_logout_with_a_replaced_refresh_token_ends_its_session(ada: Actor) -> None:
    body = {"refresh_token": ada.refresh_token}
    ada.refresh().refresh()

    answer = ada.log_out(body, token="")

    assert answer.status_code == 204
    assert not ada.is_live()


def test_logout_with_an_unknown_refresh_token_is_204(ada: Actor, sql: Sql) -> None:
    before = stored(sql)

    answer = ada.log_out({"refresh_token": "A" * 64}, token="")

    assert answer.status_code == 204
    assert stored(sql) == before


def test_logout_with_both_tokens_ends_the_session_of_the_access_token(ada: Actor) -> None:
    phone = ada.elsewhere()

    answer = phone.log_out({"refresh_token": ada.refresh_token})

    assert answer.status_code == 204
    assert not phone.is_live()


def test_logout_with_a_token_without_session_ends_nothing(ada: Actor) -> None:
    answer = ada.log_out(token=without_session(ada.id))

    assert answer.status_code == 204
    assert ada.is_live()


def test_logout_with_a_token_without_session_ends_that_of_the_refresh_token(ada: Actor, sql: Sql) -> None:
    body = {"refresh_token": ada.refresh_token}

    answer = ada.log_out(body, token=without_session(ada.id))

    assert answer.status_code == 204
    assert session_ids(sql) == []


@pytest.mark.parametrize(
    "request_body",
    [
        pytest.param({"data": "a=b"}, id="form"),
        pytest.param({"data": "{", "content_type": "application/json"}, id="malformed"),
    ],
)
def test_logout_with_the_access_token_ignores_the_body(
    client: FlaskClient, ada: Actor, sql: Sql, request_body: dict[str, str]
) -> None:
    answer = client.post(LOGOUT, headers=bearer(ada.token), **request_body)

    assert answer.status_code == 204
    assert session_ids(sql) == []


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
    client: FlaskClient, ada: Actor, sql: Sql, token: str, sent: dict[str, Any], status: int, code: str
) -> None:
    before = stored(sql)

    answer = client.post(LOGOUT, headers=bearer(token) if token else {}, **sent)

    assert refusal(answer)[:2] == (status, code)
    assert stored(sql) == before
