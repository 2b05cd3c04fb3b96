"""Decoded JSON to frozen dataclasses, or an ApiError that names every bad field."""

import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from auth.errors import ApiError
from auth.fields import UNSTORABLE, Fields, normalise


@dataclass(frozen=True)
class Registration:
    """A registration whose every field keeps the rules; names are None when absent."""

    username: str
    email: str
    password: str = field(repr=False)
    first_name: str | None
    last_name: str | None


@dataclass(frozen=True)
class Login:
    """What was typed as username or email, and the password."""

    login: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class ProfileChange:
    """Columns of users and their new values, and the password that some of them need."""

    changes: dict[str, str | None]
    current_password: str = field(repr=False)

    def without(self, **stored: str) -> dict[str, str | None]:
        """Return the changes but for those that are none."""
        return {name: value for name, value in self.changes.items() if stored.get(name) != value}

    def proof(self) -> str:
        """Return the current password. Raises ApiError `validation_failed` when it was not sent."""
        if not self.current_password:
            sentence = "Current password is required to change the username or the email."
            raise ApiError("validation_failed", fields={"current_password": sentence})
        return self.current_password


@dataclass(frozen=True)
class PasswordChange:
    """The password that proves who asks, and the one to be."""

    current_password: str = field(repr=False)
    new_password: str = field(repr=False)


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object that `raw` holds. Raises ApiError `invalid_json`.

    Stricter than `json.loads`: NaN, Infinity and a key that is given twice are refused (RFC 8259).
    """
    try:
        parsed = json.loads(raw.decode(), parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError):
        raise ApiError("invalid_json") from None
    if not isinstance(parsed, dict):
        raise ApiError("invalid_json")
    return parsed


def registration(body: dict[str, Any], *, password_min_length: int) -> Registration:
    """Return the registration in `body`. Raises ApiError `validation_failed`."""
    fields = Fields(body)
    found = Registration(
        username=fields.username("username"),
        email=fields.email("email"),
        password=fields.new_password("password", password_min_length),
        first_name=fields.name("first_name", "firstName"),
        last_name=fields.name("last_name", "lastName"),
    )
    fields.raise_problems()
    return found


def login(body: dict[str, Any]) -> Login:
    """Return the credential in `body`. Raises ApiError `validation_failed`.

    The rules of registration do not apply: what it would refuse is a wrong credential, no more.
    """
    fields = Fields(body)
    email, username = fields.text("email").strip(), fields.text("username").strip()
    if not email and not username:
        fields.complain("email", "Email or username is required.")
    password = fields.required_text("password")
    fields.raise_problems()
    return Login(email or username, password)


def refresh_token(body: dict[str, Any]) -> str:
    """Return the refresh token in `body`, of any shape. Raises ApiError `validation_failed`."""
    return _one_text(body, "refresh_token")


def password(body: dict[str, Any]) -> str:
    """Return the password that confirms a request. Raises ApiError `validation_failed`."""
    return _one_text(body, "password")


def profile(body: dict[str, Any]) -> ProfileChange:
    """Return what `body` changes; the rules are registration's. Raises ApiError `validation_failed`."""
    fields = Fields(body)
    changes: dict[str, str | None] = {}
    if "username" in body:
        changes["username"] = fields.username("username")
    if "email" in body:
        changes["email"] = fields.email("email")
    for name, camel_case in (("first_name", "firstName"), ("last_name", "lastName")):
        if name in body or camel_case in body:
            changes[name] = fields.name(name, camel_case)
    current_password = fields.text("current_password")
    fields.raise_problems()
    return ProfileChange(changes, current_password)


def password_change(body: dict[str, Any], *, password_min_length: int) -> PasswordChange:
    """Return the old and the new password. Raises ApiError `validation_failed`, also when they are equal."""
    fields = Fields(body)
    current = fields.required_text("current_password")
    new = fields.new_password("new_password", password_min_length)
    if new and normalise(new) == normalise(current):
        fields.complain("new_password", "New password must differ from the current one.")
    fields.raise_problems()
    return PasswordChange(current, new)


def _one_text(body: dict[str, Any], name: str) -> str:
    fields = Fields(body)
    value = fields.required_text(name)
    fields.raise_problems()
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or any(UNSTORABLE.search(key) for key in found):
        raise ValueError("a key is repeated or not text")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
