"""REQUIRE_VERIFIED_EMAIL: who comes in without a verified email, and who does not."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support import PASSWORD
from tests.support.actor import NEW_PASSWORD, REGISTER, WRONG_PASSWORD, Actor, ClientOf, refusal
from tests.support.apps import messages
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings
from tests.support.registrations import ADA
from tests.support.throttling import client_at, keys
from tests.support.verification import change_email, new_token, resend, verify

NOT_VERIFIED = (403, "email_not_verified", None)


@pytest.fixture
def client(client_of: ClientOf) -> FlaskClient:
    return client_of(mail=mail_settings(require_verified_email=True))


@pytest.fixture
def registered(client: FlaskClient) -> Actor:
    """A user who has no session, because the email is not verified."""
    ada = Actor(client)
    ada.pair = client.post(REGISTER, json=ADA).get_json()
    return ada


@pytest.fixture
def live(app: Flask, client: FlaskClient) -> Actor:
    """A user who registered before the setting was switched on, and has a session."""
    return Actor(app.test_client()).register().through(client)


def test_registration_opens_no_session(client: FlaskClient, service: Flask, sql: Sql) -> None:
    answer = client.post(REGISTER, json=ADA)

    body = answer.get_json()
    assert answer.status_code == 201
    assert body.keys() == {"message", "user", "userId", "username"}
    assert (body["message"], body["userId"], body["username"]) == ("User registered successfully", 1, "ada")
    assert body["user"]["email_verified"] is False
    assert answer.headers["Set-Cookie"].startswith("device=")  # the first login comes from a known device
    assert sql("SELECT count(*) FROM auth_sessions") == [(0,)]
    assert [letter.recipient for letter in letters(service)] == ["ada@example.com"]


def test_right_password_is_403_without_a_session_and_a_cookie(
    registered: Actor, sql: Sql, log_lines: list[dict[str, Any]]
) -> None:
    answer = registered.try_log_in()

    assert refusal(answer) == NOT_VERIFIED
    assert "Set-Cookie" not in answer.headers
    assert sql("SELECT count(*) FROM auth_sessions") == [(0,)]
    assert f"email_not_verified user_id={registered.id}" in messages(log_lines, "WARNING")


@pytest.mark.parametrize("username", ["ada", "nobody"])
def test_wrong_password_tells_nothing(registered: Actor, username: str) -> None:
    answer = registered.try_log_in(username=username, password=WRONG_PASSWORD)

    assert refusal(answer) == (401, "invalid_credentials", "Bearer")


def test_right_password_is_not_charged(registered: Actor, sql: Sql) -> None:
    answers = [registered.try_log_in() for _ in range(12)]

    assert [refusal(answer) for answer in answers] == [NOT_VERIFIED] * 12
    assert keys(sql, "account ") == []


def test_login_works_once_the_email_is_verified(
    service: Flask, client: FlaskClient, registered: Actor
) -> None:
    verify(client, new_token(service))

    answer = registered.try_log_in()

    assert answer.status_code == 200
    assert answer.get_json()["user"]["email_verified"] is True


def test_live_session_goes_on(live: Actor, service: Flask) -> None:
    assert live.refresh().is_live()
    assert resend(live).status_code == 202
    assert live.change_profile(username="countess", current_password=PASSWORD).status_code == 200

    changed = live.change_password()

    assert changed.status_code == 200
    assert live.holding(changed.get_json()).refresh().is_live()
    assert refusal(live.try_log_in(username="countess", password=NEW_PASSWORD)) == NOT_VERIFIED


def test_pending_email_leaves_the_verified_one(service: Flask, client: FlaskClient, live: Actor) -> None:
    resend(live)
    verify(client, new_token(service))

    change_email(live)

    assert live.try_log_in().status_code == 200


def test_email_that_was_changed_elsewhere_is_not_verified(
    service: Flask, client: FlaskClient, registered: Actor, sql: Sql
) -> None:
    verify(client, new_token(service))
    sql("UPDATE users SET email = 'else@example.com'")

    assert refusal(registered.try_log_in()) == NOT_VERIFIED


def test_setting_counts_for_nothing_without_mail(app: Flask, registered: Actor) -> None:
    assert registered.through(app.test_client()).try_log_in().status_code == 200


def test_right_password_gives_the_failures_before_it_back(
    service: Flask, registered: Actor, sql: Sql
) -> None:
    stranger = registered.through(client_at(service))
    stranger.try_log_in(password=WRONG_PASSWORD)
    before = keys(sql, "account ")

    stranger.try_log_in()

    assert (before, keys(sql, "account ")) == ([f"account {registered.id} strangers"], [])
