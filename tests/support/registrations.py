"""Registrations, refused ones too."""

import json
from typing import Any

from flask.testing import FlaskClient

from tests.support import PASSWORD
from tests.support.actor import REGISTER

ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}


def try_register(client: FlaskClient, **changes: object) -> Any:
    """Register ada with `changes` and return the answer; a field set to ... is left out."""
    body = {name: value for name, value in (ADA | changes).items() if value is not ...}
    return client.post(REGISTER, json=body)


def registration_of(length: int) -> bytes:
    """Return the body of a valid registration with `length` bytes."""
    start = json.dumps(ADA | {"padding": ""}).encode().removesuffix(b'"}')
    return start + b"x" * (length - len(start) - 2) + b'"}'


def email_of(length: int) -> str:
    """Return a valid address of `length` characters."""
    return "a" * (length - len("@example.com")) + "@example.com"
