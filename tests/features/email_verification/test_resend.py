"""POST /api/auth/email/resend: the link once more."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from runtime.settings import Rate
from tests.support.actor import TOKEN_INVALID, TOKEN_MISSING, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings
from tests.support.throttling import client_at, codes
from tests.support.verification import OTHER, change_email, new_token, queued, resend, verify


def test_resend_mails_the_email(service: Flask, ada: Actor) -> None:
    letters(service)

    answer = resend(ada)

    [letter] = letters(service)
    assert (answer.status_code, answer.get_json()) == (202, {})
    assert (letter.kind, letter.recipient, letter.user.id) == ("verify_email", "ada@example.com", ada.id)


@pytest.mark.parametrize("is_verified", [True, False])
def test_resend_mails_the_pending_address_if_there_is_one(
    service: Flask, client: FlaskClient, ada: Actor, *, is_verified: bool
) -> None:
    token = new_token(service)
    if is_verified:
        verify(client, token)
    change_email(ada)
    letters(service)

    answer = resend(ada)

    assert answer.status_code == 202
    assert [letter.recipient for letter in letters(service)] == [OTHER]


def test_resend_with_nothing_to_verify_is_409(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    verify(client, new_token(service))

    assert refusal(resend(ada)) == (409, "already_verified", None)
    assert queued(sql) == []


def test_resend_after_the_email_was_changed_elsewhere_verifies_the_new_one(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    verify(client, new_token(service))
    sql("UPDATE users SET email = 'else@example.com'")

    resend(ada)

    assert verify(client, new_token(service)).get_json()["email_verified"] is True


def test_resend_without_a_token_is_401(client: FlaskClient, ada: Actor, sql: Sql) -> None:
    before = queued(sql)

    assert refusal(resend(ada, token="")) == TOKEN_MISSING
    assert queued(sql) == before


def test_resend_of_a_session_that_has_ended_is_401_and_queues_nothing(
    service: Flask, ada: Actor, sql: Sql
) -> None:
    letters(service)
    ada.log_out()

    assert refusal(resend(ada)) == TOKEN_INVALID
    assert queued(sql) == []


def test_resend_of_a_deleted_user_is_401(ada: Actor, sql: Sql) -> None:
    sql("DELETE FROM users")

    assert refusal(resend(ada)) == TOKEN_INVALID


def test_resend_is_limited_for_each_address(client_of: ClientOf, sql: Sql) -> None:
    mail = mail_settings(limit_mail_requests=Rate(2, "2h"))
    app = client_of(mail=mail).application
    ada = Actor(client_at(app)).register()

    answers = [resend(ada) for _ in range(3)]

    assert codes(answers) == ["", "", "rate_limited"]
    assert len(queued(sql)) == 1 + 2
    assert resend(ada.through(client_at(app, "192.0.2.9"))).status_code == 202
