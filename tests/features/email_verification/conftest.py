"""A service with mail, whose mails a test takes out of the outbox."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.actor import ClientOf
from tests.support.mails import mail_settings


@pytest.fixture
def client(client_of: ClientOf) -> FlaskClient:
    return client_of(mail=mail_settings())


@pytest.fixture
def service(client: FlaskClient) -> Flask:
    return client.application
