"""The forms: how each route reads its body. The tests reach the code for this through here only."""

from collections.abc import Callable
from typing import Any

import pytest

from auth.errors import ApiError
from auth.features.login import Login as Login
from auth.features.password import PasswordChange
from auth.features.password_reset import PasswordReset, forgotten_email
from auth.features.profile import ProfileChange
from auth.features.registration import Registration
from auth.features.two_factor.login import SecondStep
from auth.fields import required_text
from auth.reauthentication import Confirmation
from auth.two_factor.verification import TypedCode
from config import Settings
from tests.support import SECRET_KEY
from tests.support.registrations import ADA

NO_PROFILE = {"username": "", "email": "", "first_name": None, "last_name": None}


def read_registration(body: dict[str, Any], *, min_length: int = 8) -> Registration:
    """Return the registration in a body. Common passwords are accepted."""
    settings = Settings(
        db_url="", secret_key=SECRET_KEY, password_min_length=min_length, password_blocklist=False
    )
    return Registration.from_body(body, settings)


def read_login(body: dict[str, Any]) -> Login:
    return Login.from_body(body)


def read_password_change(body: dict[str, Any]) -> PasswordChange:
    return PasswordChange.from_body(body, password_min_length=8)


# By operation, as openapi.yaml names it.
READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "POST /api/auth/register": read_registration,
    "POST /api/auth/login": read_login,
    "POST /api/auth/login/2fa": SecondStep.from_body,
    "POST /api/auth/2fa/setup": lambda body: required_text(body, "password"),
    "POST /api/auth/2fa/enable": lambda body: required_text(body, "code"),
    "POST /api/auth/2fa/disable": lambda body: Confirmation.from_body(body, TypedCode.required_from_reader),
    "POST /api/auth/2fa/recovery-codes": lambda body: Confirmation.from_body(
        body, TypedCode.required_of_the_app
    ),
    "PATCH /api/auth/me": lambda body: ProfileChange.from_body(body, NO_PROFILE),
    "DELETE /api/auth/me": lambda body: Confirmation.from_body(body, TypedCode.from_reader),
    "PUT /api/auth/me/password": read_password_change,
    "POST /api/auth/email/verify": lambda body: required_text(body, "token"),
    "POST /api/auth/password/forgot": forgotten_email,
    "POST /api/auth/password/reset": lambda body: PasswordReset.from_body(body, password_min_length=8),
    "POST /api/auth/refresh": lambda body: required_text(body, "refresh_token"),
    "POST /api/auth/logout": lambda body: required_text(body, "refresh_token"),
}


def registration(*, min_length: int = 8, **changes: object) -> Registration:
    """Return ada's registration with `changes`."""
    return read_registration(ADA | changes, min_length=min_length)


def registration_problems(*, min_length: int = 8, **changes: object) -> dict[str, str]:
    """Return what is wrong with ada's registration with `changes`: sentences by field."""
    return problems(lambda body: read_registration(body, min_length=min_length), ADA | changes)


def problems(read: Callable[[dict[str, Any]], object], body: dict[str, Any]) -> dict[str, str]:
    """Return what `read` finds wrong with a body: sentences by field. Fails if the body is accepted."""
    with pytest.raises(ApiError) as caught:
        read(body)
    assert caught.value.code == "validation_failed"
    return caught.value.fields or {}
