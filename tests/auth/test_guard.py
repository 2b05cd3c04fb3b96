"""Every call that needs an access token: what it answers without a valid one, and after the session's end."""

import pytest
from flask.testing import FlaskClient

from tests.support.access_tokens import EXPIRED, without_session
from tests.support.actor import ME, TOKEN_EXPIRED, TOKEN_INVALID, TOKEN_MISSING, Actor, Refusal, refusal
from tests.support.database import Sql
from tests.support.guarded_calls import GUARDED_CALLS, READING_CALLS
from tests.support.rows import stored

PROFILE_CALLS_WITHOUT_PASSWORD = [
    pytest.param("PATCH", ME, {"first_name": "A"}, id="PATCH of a name"),
    pytest.param("PATCH", ME, {}, id="PATCH of nothing"),
]


@pytest.mark.parametrize(("method", "path", "body"), GUARDED_CALLS)
@pytest.mark.parametrize(
    ("token", "expected"),
    [
        pytest.param("", TOKEN_MISSING, id="none"),
        pytest.param(EXPIRED, TOKEN_EXPIRED, id="expired"),
        pytest.param("nonsense", TOKEN_INVALID, id="nonsense"),
        pytest.param(without_session(2**31 - 1), TOKEN_INVALID, id="unknown user"),
        pytest.param(without_session(1, sid=10**6), TOKEN_INVALID, id="unknown session"),
        pytest.param(without_session(1, sid=2), TOKEN_INVALID, id="session of another user"),
        pytest.param(without_session(1, sid="1"), TOKEN_INVALID, id="session as a string"),
        pytest.param(without_session(1, sid=True), TOKEN_INVALID, id="session as a boolean"),
        pytest.param(without_session(1, sid=0), TOKEN_INVALID, id="session of 0"),
        pytest.param(without_session(1, sid=2**63), TOKEN_INVALID, id="session past BIGSERIAL"),
    ],
)
def test_call_without_a_valid_token_is_401(
    client: FlaskClient,
    ada: Actor,
    sql: Sql,
    method: str,
    path: str,
    body: object,
    token: str,
    expected: Refusal,
) -> None:
    bob = Actor(client, "bob").register()
    assert (ada.session_id, bob.session_id) == (1, 2)
    before = stored(sql)

    answer = ada.send(method, path, body, token=token)

    assert refusal(answer) == expected
    assert stored(sql) == before


@pytest.mark.parametrize(("method", "path", "body"), [*GUARDED_CALLS, *PROFILE_CALLS_WITHOUT_PASSWORD])
@pytest.mark.parametrize(
    "end",
    [
        pytest.param("DELETE FROM auth_sessions", id="revoked"),
        pytest.param("UPDATE auth_sessions SET valid_until = now() - interval '1 ms'", id="expired"),
    ],
)
def test_call_after_the_end_of_the_session_is_401(
    ada: Actor, sql: Sql, method: str, path: str, body: object, end: str
) -> None:
    ada.elsewhere()
    sql(f"{end} WHERE id = %s", ada.session_id)
    before = stored(sql)

    answer = ada.send(method, path, body)

    assert refusal(answer) == TOKEN_INVALID
    assert stored(sql) == before


@pytest.mark.parametrize(("method", "path", "body"), READING_CALLS)
def test_token_without_session_is_valid_when_every_session_has_ended(
    ada: Actor, sql: Sql, method: str, path: str, body: object
) -> None:
    sql("DELETE FROM auth_sessions")

    answer = ada.send(method, path, body, token=without_session(ada.id))

    assert answer.status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), READING_CALLS)
def test_token_without_session_is_refused_once_it_expired(
    ada: Actor, method: str, path: str, body: object
) -> None:
    answer = ada.send(method, path, body, token=without_session(ada.id, exp=1))

    assert refusal(answer) == TOKEN_EXPIRED
