"""DELETE /api/auth/sessions and DELETE /api/auth/sessions/{id}."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from config import Settings
from tests.support.access_tokens import without_session
from tests.support.actor import REFRESH_INVALID, TOKEN_INVALID, Actor, refusal
from tests.support.database import Sql
from tests.support.races import statuses, wait_for_both
from tests.support.rows import session_ids, stored

NOT_FOUND = (404, "not_found", None)


@pytest.fixture
def bob(client: FlaskClient) -> Actor:
    return Actor(client, "bob").register()


def test_revocation_ends_that_session_and_no_other(bob: Actor, ada: Actor) -> None:
    phone, tablet = ada.elsewhere(), ada.elsewhere()

    answer = tablet.revoke_session(phone.session_id)

    assert (answer.status_code, answer.data) == (204, b"")
    assert not phone.is_live()
    assert refusal(phone.try_refresh()) == REFRESH_INVALID
    assert all(user.is_live() for user in (bob, ada, tablet))


def test_revocation_of_the_current_session_is_a_logout(ada: Actor) -> None:
    answer = ada.revoke_session(ada.session_id)

    assert answer.status_code == 204
    assert not ada.is_live()
    assert refusal(ada.revoke_session(ada.session_id)) == TOKEN_INVALID


def test_revocation_again_is_404(ada: Actor) -> None:
    phone = ada.elsewhere()

    status_codes = [ada.revoke_session(phone.session_id).status_code for _ in range(2)]

    assert status_codes == [204, 404]


def test_revocation_of_an_expired_session_is_404(ada: Actor, sql: Sql) -> None:
    phone = ada.elsewhere()
    sql("UPDATE auth_sessions SET valid_until = now() WHERE id = %s", ada.session_id)

    answer = phone.revoke_session(ada.session_id)

    assert answer.status_code == 404


def test_revocation_of_another_users_session_is_the_404_of_an_unknown_one(
    bob: Actor, ada: Actor, sql: Sql
) -> None:
    before = stored(sql)

    of_bob, unknown = ada.revoke_session(bob.session_id), ada.revoke_session(10**6)

    assert refusal(of_bob) == NOT_FOUND
    assert of_bob.get_json() == unknown.get_json()
    assert {name for name, _ in of_bob.headers} == {name for name, _ in unknown.headers}
    assert stored(sql) == before
    assert bob.is_live()


@pytest.mark.parametrize("session_id", [0, -1, 2**63 - 1, 2**63, 10**30, "abc", "1.0", "1/1", "%00", "null"])
def test_revocation_of_what_is_no_session_id_is_404(ada: Actor, sql: Sql, session_id: object) -> None:
    before = stored(sql)

    answer = ada.revoke_session(session_id)

    assert refusal(answer) == NOT_FOUND
    assert stored(sql) == before


def test_revocation_of_the_others_leaves_only_the_current_one(bob: Actor, ada: Actor, sql: Sql) -> None:
    others, current = [ada, ada.elsewhere()], ada.elsewhere()

    answers = [current.revoke_other_sessions() for _ in range(2)]

    assert [(answer.status_code, answer.data) for answer in answers] == [(204, b"")] * 2
    assert not any(other.is_live() for other in others)
    assert {refusal(other.try_refresh()) for other in others} == {REFRESH_INVALID}
    assert session_ids(sql) == [bob.session_id, current.session_id]
    assert current.try_refresh().status_code == 200


def test_revocation_of_the_others_with_a_token_without_session_ends_all(ada: Actor) -> None:
    answer = ada.revoke_other_sessions(without_session(ada.id))

    assert answer.status_code == 204
    assert not ada.is_live()


def test_two_sessions_that_revoke_each_other_leave_one(
    app: Flask, ada: Actor, settings: Settings, sql: Sql
) -> None:
    users = [ada.through(app.test_client()), ada.elsewhere().through(app.test_client())]

    answers = wait_for_both(
        settings.db_url,
        users[0].revoke_other_sessions,
        users[1].revoke_other_sessions,
        held="SELECT FROM auth_sessions FOR UPDATE",
    )

    assert statuses(answers) == {204: 1, 401: 1}
    assert len(session_ids(sql)) == 1


def test_call_of_an_ended_session_is_logged_with_ids(ada: Actor, log_lines: list[dict[str, object]]) -> None:
    ada.log_out()

    ada.me()

    warnings = [line["message"] for line in log_lines if line["level"] == "WARNING"]
    assert warnings == [f"session_over user_id={ada.id} session_id={ada.session_id}"]
