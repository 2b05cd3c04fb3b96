"""A service with mail, on the database of the other fixtures."""

from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from auth.mail.sender import Sender
from tests.support.actor import Actor, ClientOf
from tests.support.mails import mail_settings
from tests.support.resets import new_token


@pytest.fixture
def mailing(client_of: ClientOf) -> FlaskClient:
    """A browser of nobody, on a service with mail."""
    return client_of(mail=mail_settings())


@pytest.fixture
def token(mailing: FlaskClient, ada: Actor) -> str:
    """The token of the link that was mailed to ada."""
    return new_token(mailing)


@pytest.fixture
def woken(mailing: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the sender of `mailing` was woken: a text for each time."""
    times: list[str] = []
    monkeypatch.setattr(Sender, "wake", lambda _: times.append("woken"))
    app = mailing.application
    app.extensions["auth"] = replace(app.extensions["auth"], sender=Sender.__new__(Sender))
    return times
