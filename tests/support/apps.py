"""The service on any database, inside the process of the tests and with bcrypt at cost 4."""

from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from config import Settings
from tests.support import SECRET_KEY


def app_on(db_url: str, **changes: Any) -> Flask:
    """Start the service on a database. changes: other settings."""
    return create_app(Settings(db_url=db_url, secret_key=SECRET_KEY, bcrypt_rounds=4, **changes))


def client_on(db_url: str) -> FlaskClient:
    """Start the service on a database and return a client of it."""
    return app_on(db_url).test_client()


def messages(log_lines: list[dict[str, Any]], level: str) -> list[str]:
    """Return the messages of the log lines of a level, such as WARNING."""
    return [line["message"] for line in log_lines if line["level"] == level]
