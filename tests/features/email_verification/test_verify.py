"""POST /api/auth/email/verify: the token of a link to a verified address."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from runtime.settings import Rate
from tests.support.access_tokens import claims_of
from tests.support.actor import Actor, ClientOf, refusal
from tests.support.apps import messages
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings, token_of
from tests.support.races import at_once, statuses
from tests.support.throttling import client_at, codes
from tests.support.verification import (
    LINK_INVALID,
    OTHER,
    VERIFY,
    addresses,
    change_email,
    new_token,
    queued,
    resend,
    verify,
)

UNKNOWN = "A" * 43


def test_registration_mails_a_link_that_verifies_the_address(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    [letter] = letters(service)

    answer = verify(client, token_of(letter))

    assert (letter.kind, letter.recipient) == ("verify_email", "ada@example.com")
    assert letter.link.startswith("https://app.streamly.example/verify-email#token=")
    assert ada.pair["user"]["email_verified"] is False
    assert answer.status_code == 200
    assert answer.get_json() == ada.pair["user"] | {"email_verified": True} == ada.me().get_json()
    assert addresses(sql) == ("ada@example.com", "ada@example.com", None)
    assert queued(sql) == []


def test_verification_needs_no_session_and_ends_none(service: Flask, ada: Actor) -> None:
    phone = ada.elsewhere()
    ada.log_out()

    answer = verify(service.test_client(), new_token(service))

    assert answer.status_code == 200
    assert "token" not in answer.get_json()
    assert "Set-Cookie" not in answer.headers
    assert phone.is_live()


def test_link_works_once(service: Flask, client: FlaskClient, ada: Actor) -> None:
    token = new_token(service)
    verify(client, token)

    assert refusal(verify(client, token)) == LINK_INVALID
    assert ada.me().get_json()["email_verified"] is True


def test_of_two_requests_at_once_one_succeeds(service: Flask, ada: Actor) -> None:
    for n in range(5):
        Actor(service.test_client(), f"user{n}").register()
        token = new_token(service)

        answers = at_once(*[lambda token=token: verify(service.test_client(), token)] * 4)

        assert statuses(answers) == {200: 1, 400: 3}


@pytest.mark.parametrize(
    ("seconds", "status"), [pytest.param(-5, 200, id="before its end"), pytest.param(5, 400, id="after")]
)
def test_link_expires(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql, seconds: int, status: int
) -> None:
    token = new_token(service)
    sql(
        "UPDATE auth_one_time_tokens SET expires_at = expires_at - %s",
        timedelta(seconds=mail_settings().verify_expires_seconds + seconds),
    )

    assert verify(client, token).status_code == status


def test_newer_link_voids_the_older(service: Flask, client: FlaskClient, ada: Actor) -> None:
    older = new_token(service)
    resend(ada)
    newer = new_token(service)

    assert refusal(verify(client, older)) == LINK_INVALID
    assert verify(client, newer).status_code == 200


def test_older_link_works_until_the_newer_is_sent(service: Flask, client: FlaskClient, ada: Actor) -> None:
    token = new_token(service)
    resend(ada)

    assert verify(client, token).status_code == 200
    assert letters(service) == []  # the mail has no reason any more


def test_link_that_resets_a_password_verifies_nothing(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    token = new_token(service)
    sql("UPDATE auth_one_time_tokens SET purpose = 'reset_password'")

    assert refusal(verify(client, token)) == LINK_INVALID
    assert addresses(sql) == ("ada@example.com", None, None)


@pytest.mark.parametrize(
    "token",
    [UNKNOWN, "x", " ", "\u00e9" * 43, "x" * 60_000],
    ids=["unknown", "short", "blank", "text", "long"],
)
def test_other_text_is_no_link(client: FlaskClient, token: str) -> None:
    assert refusal(verify(client, token)) == LINK_INVALID


@pytest.mark.parametrize("token", [None, "", 7, ["x"], {}], ids=str)
def test_body_without_a_token_is_400_with_the_field(client: FlaskClient, token: object) -> None:
    answer = verify(client, token)

    assert answer.status_code == 400
    assert answer.get_json()["fields"].keys() == {"token"}


def test_link_of_a_deleted_user_is_invalid(service: Flask, client: FlaskClient, ada: Actor) -> None:
    token = new_token(service)
    ada.delete()

    assert refusal(verify(client, token)) == LINK_INVALID


def test_deletion_of_a_user_drops_the_mails_that_wait(ada: Actor, service: Flask, sql: Sql) -> None:
    ada.delete()

    assert queued(sql) == []
    assert letters(service) == []


def test_link_to_an_address_that_the_user_has_no_more_is_invalid(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    token = new_token(service)
    sql("UPDATE users SET email = 'else@example.com'")

    assert refusal(verify(client, token)) == LINK_INVALID
    assert sql("SELECT used_at FROM auth_one_time_tokens") == [(None,)]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT"])
def test_mail_scanner_that_opens_the_address_consumes_nothing(
    service: Flask, client: FlaskClient, ada: Actor, method: str
) -> None:
    token = new_token(service)

    answer = client.open(f"{VERIFY}?token={token}", method=method)

    assert answer.status_code == (204 if method == "OPTIONS" else 405)
    assert verify(client, token).status_code == 200


def test_unknown_links_are_limited_and_good_ones_are_not(client_of: ClientOf) -> None:
    app = client_of(mail=mail_settings(), limit_address_failures=Rate(2, "2h")).application
    client = client_at(app)
    Actor(app.test_client()).register()
    token = new_token(app)

    answers = [verify(client, UNKNOWN) for _ in range(3)]

    assert codes(answers) == ["link_invalid", "link_invalid", "rate_limited"]
    assert verify(client, token).status_code == 200


def test_verified_pending_address_is_in_the_next_access_token(service: Flask, ada: Actor) -> None:
    change_email(ada)

    verify(service.test_client(), new_token(service))

    assert claims_of(ada.refresh().token)["email"] == OTHER


def test_token_is_in_no_log_line(
    service: Flask, client: FlaskClient, ada: Actor, log_lines: list[dict[str, Any]]
) -> None:
    token = new_token(service)
    verify(client, token)
    verify(client, token)

    assert messages(log_lines, "INFO")
    assert token not in str(log_lines)
