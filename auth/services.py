"""What the routes of one app use: made by `auth.init_app`, found by `current_auth`."""

from dataclasses import dataclass

from flask import current_app

from auth.passwords import PasswordHasher
from auth.throttling.guard import Throttle
from config import Settings
from db import Database


@dataclass(frozen=True)
class Auth:
    """The settings, the database, the password hasher and the limits of one app."""

    settings: Settings
    database: Database
    passwords: PasswordHasher
    throttle: Throttle


def current_auth() -> Auth:
    """Return what the current app was made with."""
    auth: Auth = current_app.extensions["auth"]
    return auth
