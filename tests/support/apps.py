"""The service on any database, with other settings or a fault, inside the process of the tests."""

from dataclasses import replace
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from flask_bcrypt import Bcrypt

from app import create_app
from auth.passwords import PasswordHasher
from config import Settings
from tests.support import SECRET_KEY

NO_DATABASE = "postgresql://operator:hunter2@/users?host=/nowhere"


def app_on(db_url: str, *, bcrypt_rounds: int = 4, **changes: Any) -> Flask:
    """Start the service on a database. changes: further settings."""
    return create_app(Settings(db_url=db_url, secret_key=SECRET_KEY, bcrypt_rounds=bcrypt_rounds, **changes))


def client_on(db_url: str) -> FlaskClient:
    """Start the service on a database and return a client of it."""
    return app_on(db_url).test_client()


def app_without_hash_slots(db_url: str) -> Flask:
    """Start a service that can hash no password: every registration and login is answered with `busy`."""
    app = app_on(db_url)
    fill_every_hash_slot(app)
    return app


def fill_every_hash_slot(app: Flask) -> None:
    """Give a service a hasher without a free slot and without room to wait."""
    full = PasswordHasher(Bcrypt(app), rounds=4, running=0, waiting=0)
    app.extensions["auth"] = replace(app.extensions["auth"], passwords=full)


def messages(log_lines: list[dict[str, Any]], level: str) -> list[str]:
    """Return the messages of the log lines of a level, such as WARNING."""
    return [line["message"] for line in log_lines if line["level"] == level]
