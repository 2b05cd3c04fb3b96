"""What the routes of one app use: made by `auth.init_app`, found by `current_auth`."""

from dataclasses import dataclass

from flask import current_app

from auth.mail.sender import Sender
from auth.passwords import PasswordHasher
from auth.throttling.guard import Throttle
from auth.two_factor.verification import SecondFactor
from config import Settings
from db import Database


@dataclass(frozen=True)
class Auth:
    """The settings, the database, the password hasher, the limits and what may be off in one app.

    second_factor: None if TWO_FACTOR is off. sender: None if mail is off.
    """

    settings: Settings
    database: Database
    passwords: PasswordHasher
    throttle: Throttle
    second_factor: SecondFactor | None = None
    sender: Sender | None = None

    def wake_sender(self) -> None:
        """Have the mails sent at once that a transaction has queued, if mail is on."""
        if self.sender:
            self.sender.wake()


def current_auth() -> Auth:
    """Return what the current app was made with."""
    auth: Auth = current_app.extensions["auth"]
    return auth
