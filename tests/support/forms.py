"""How the routes read their bodies: the one place where tests name the functions that do so."""

from collections.abc import Callable
from typing import Any

import pytest

from auth import validation
from auth.errors import ApiError
from auth.validation import Login, PasswordChange, Registration
from auth.validation import parse_object as parse_object
from tests.support.registrations import ADA

NO_PROFILE = {"username": "", "email": "", "first_name": None, "last_name": None}


def read_registration(body: dict[str, Any], *, min_length: int = 8) -> Registration:
    return validation.registration(body, password_min_length=min_length)


def read_login(body: dict[str, Any]) -> Login:
    return validation.login(body)


def read_password_change(body: dict[str, Any]) -> PasswordChange:
    return validation.password_change(body, password_min_length=8)


# By operation, as openapi.yaml names it.
READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "POST /api/auth/register": read_registration,
    "POST /api/auth/login": read_login,
    "PATCH /api/auth/me": lambda body: validation.profile(body, NO_PROFILE),
    "DELETE /api/auth/me": validation.password,
    "PUT /api/auth/me/password": read_password_change,
    "POST /api/auth/refresh": validation.refresh_token,
    "POST /api/auth/logout": validation.refresh_token,
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
