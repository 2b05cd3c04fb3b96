"""A mail goes out at once: whoever queues it wakes the sender when the transaction has ended."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.mail.sender import Sender
from tests.support.actor import Actor
from tests.support.database import Sql
from tests.support.verification import OTHER, change_email, new_token, queued, resend, verify

Wakes = list[list[tuple[str, str]]]
LINK = ("verify_email", "ada@example.com")


@pytest.fixture
def wakes(monkeypatch: pytest.MonkeyPatch, sql: Sql) -> Wakes:
    """What waits in the outbox at each wake-up."""
    seen: Wakes = []
    monkeypatch.setattr(Sender, "wake", lambda _: seen.append(queued(sql)))
    return seen


@pytest.fixture
def ada(wakes: Wakes, client: FlaskClient) -> Actor:
    return Actor(client).register()


def test_registration_wakes_the_sender(wakes: Wakes, ada: Actor) -> None:
    assert wakes == [[LINK]]


def test_resend_wakes_the_sender(wakes: Wakes, ada: Actor) -> None:
    resend(ada)

    assert wakes[1:] == [[LINK, LINK]]


def test_change_of_the_email_wakes_the_sender(wakes: Wakes, ada: Actor) -> None:
    change_email(ada)

    assert wakes[1:] == [[LINK, ("verify_email", OTHER)]]


def test_verification_of_another_email_wakes_the_sender(wakes: Wakes, service: Flask, ada: Actor) -> None:
    change_email(ada)
    token = new_token(service)

    verify(ada.client, token)

    assert wakes[2:] == [[("email_changed", "ada@example.com")]]
