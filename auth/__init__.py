"""Users, their passwords and their sessions: the auth blueprint with its features."""

from functools import partial

from flask import Flask
from flask_bcrypt import Bcrypt

from auth import error_handlers, features, housekeeping
from auth.blueprint import bp
from auth.mail.messages import Templates
from auth.mail.sender import Sender
from auth.mail.smtp import Transport
from auth.passwords import PasswordHasher
from auth.services import Auth
from auth.throttling.guard import Throttle
from auth.two_factor.verification import SecondFactor
from config import Settings
from db import Database
from runtime import background, common_passwords, shared_slots

__all__ = ["features", "init_app"]


def init_app(app: Flask, settings: Settings, database: Database) -> None:
    """Add the auth blueprint to `app`, with all that its routes use.

    Raises ConfigError if the list of common passwords or a template of a mail cannot be used.
    """
    if settings.password_blocklist:
        common_passwords.load()
    app.config["BCRYPT_LOG_ROUNDS"] = settings.bcrypt_rounds
    passwords = PasswordHasher(
        Bcrypt(app),
        rounds=settings.bcrypt_rounds,
        running=settings.hash_slots,
        waiting=settings.hash_queue,
        shared=shared_slots.inherited(settings.hash_slots, waiting=settings.hash_queue),
    )
    sender = _sender(settings, database)
    throttle = Throttle(settings, database, sender.wake if sender else _do_nothing)
    second_factor = SecondFactor(settings, throttle) if settings.two_factor else None
    app.extensions["auth"] = Auth(settings, database, passwords, throttle, second_factor, sender)
    background.add(app, partial(housekeeping.start, database))
    if sender:
        background.add(app, sender.start, sender.stop)
    error_handlers.init_app(app)
    app.register_blueprint(bp)


def _do_nothing() -> None:
    """Stand in for the wake-up of a sender while mail is off."""


def _sender(settings: Settings, database: Database) -> Sender | None:
    """Return the sender of mails. Returns None if mail is off. Raises ConfigError for a bad template."""
    if settings.mail is None:
        return None
    templates = Templates(settings.mail.mail_templates)
    templates.check()
    return Sender(database, settings, Transport(settings.mail.smtp).deliver, templates)
