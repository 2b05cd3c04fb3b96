"""Without mail: the calls are not offered, and an email changes at once."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.actor import Actor, refusal
from tests.support.database import Sql
from tests.support.mails import letters
from tests.support.verification import (
    LINK_INVALID,
    OTHER,
    RESEND,
    VERIFY,
    addresses,
    change_email,
    new_token,
    queued,
    resend,
    verify,
)

FEATURE_OFF = (404, "feature_off", None)


@pytest.fixture
def plain(ada: Actor, app: Flask) -> Actor:
    """The same user, at a service without mail on the same database."""
    return ada.through(app.test_client())


@pytest.mark.parametrize("path", [VERIFY, RESEND])
def test_call_is_404_whatever_is_sent(app: Flask, plain: Actor, path: str) -> None:
    answers = [
        app.test_client().post(path),
        app.test_client().post(path, data="{"),
        plain.send("POST", path, {"token": "x"}),
        plain.send("POST", path, {}, token="x"),
    ]

    assert [refusal(answer) for answer in answers] == [FEATURE_OFF] * 4


def test_registration_queues_nothing(app: Flask, sql: Sql) -> None:
    Actor(app.test_client(), "bob").register()

    assert queued(sql) == []


def test_email_changes_at_once_and_is_not_verified(service: Flask, plain: Actor, sql: Sql) -> None:
    verify(service.test_client(), new_token(service))

    answer = change_email(plain)

    assert answer.status_code == 200
    assert answer.get_json()["email_verified"] is False
    assert "pending_email" not in answer.get_json()
    assert addresses(sql) == (OTHER, "ada@example.com", None)
    assert queued(sql) == []


def test_pending_address_does_not_come_back_to_life(
    service: Flask, plain: Actor, ada: Actor, sql: Sql
) -> None:
    letters(service)
    change_email(ada)
    token = new_token(service)

    answer = change_email(plain, "third@example.com")

    assert "pending_email" not in answer.get_json()
    assert answer.get_json()["email"] == "third@example.com"
    assert addresses(sql) == ("third@example.com", None, None)
    assert refusal(verify(service.test_client(), token)) == LINK_INVALID
    assert resend(ada).status_code == 202
    assert [letter.recipient for letter in letters(service)] == ["third@example.com"]


def test_taken_email_is_409_and_leaves_the_pending_address(
    service: Flask, client: FlaskClient, plain: Actor, ada: Actor, sql: Sql
) -> None:
    Actor(client, "bob").register()
    change_email(ada)

    answer = change_email(plain, "bob@example.com")

    assert refusal(answer) == (409, "email_taken", None)
    assert addresses(sql) == ("ada@example.com", None, OTHER)
