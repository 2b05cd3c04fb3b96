"""The auth blueprint: its address, the services that its routes call, and its route modules."""

from dataclasses import dataclass

from flask import Blueprint, current_app

from auth.passwords import PasswordHasher
from config import Settings
from db import Database

bp = Blueprint("auth", __name__, url_prefix="/api/auth")


@dataclass(frozen=True)
class Services:
    """What `create_app` made for the routes of one app."""

    settings: Settings
    database: Database
    passwords: PasswordHasher


def services() -> Services:
    """Return the services of the current app."""
    found: Services = current_app.extensions["services"]
    return found


# Last, because the route modules register themselves on `bp`.
from auth import features as features  # noqa: E402
