"""Users, their passwords and their sessions: the auth blueprint with its features."""

import os

from flask import Flask
from flask_bcrypt import Bcrypt

from auth import error_handlers, features
from auth.blueprint import bp
from auth.passwords import PasswordHasher
from auth.services import Auth
from config import HASH_SLOT_DESCRIPTOR, Settings
from db import Database
from runtime.bulkhead import SharedPlaces

__all__ = ["features", "init_app"]


def init_app(app: Flask, settings: Settings, database: Database) -> None:
    """Add the auth blueprint to `app`, with all that its routes use."""
    app.config["BCRYPT_LOG_ROUNDS"] = settings.bcrypt_rounds
    passwords = PasswordHasher(
        Bcrypt(app),
        rounds=settings.bcrypt_rounds,
        slots=settings.hash_slots,
        queue=settings.hash_queue,
        shared=_shared_slots(settings),
    )
    app.extensions["auth"] = Auth(settings, database, passwords)
    error_handlers.init_app(app)
    app.register_blueprint(bp)


def _shared_slots(settings: Settings) -> SharedPlaces | None:
    """Return the hash slots that gunicorn's workers share. Returns None if there is one process."""
    descriptor = os.environ.get(HASH_SLOT_DESCRIPTOR)
    return SharedPlaces(int(descriptor), settings.hash_slots) if descriptor else None
