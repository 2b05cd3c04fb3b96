"""Decoded JSON to frozen dataclasses, or an ApiError that names every bad field."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from auth.errors import ApiError
from auth.fields import MAX_TYPED_CHARACTERS, UNSTORABLE, BodyReader, normalise

MAX_KEYS = 1000  # at all levels; a body has room for 20,000 objects, which take longer than all else


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
    """What was typed as username or email, blanks included, and the password."""

    login: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class ProfileChange:
    """Columns of users and their new values, and the password that some of them need."""

    changes: dict[str, str | None]
    current_password: str = field(repr=False)

    def needs_proof(self) -> bool:
        """Return whether the change is one that only the owner of the password may make."""
        return not self.changes.keys().isdisjoint(("username", "email"))

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
    """Return the JSON object that `raw` holds. Raises ApiError `invalid_json`, which says what is wrong.

    Stricter than `json.loads`: NaN, Infinity and a key that is given twice are refused (RFC 8259).
    """
    keys: list[str] = []
    unique_keys = partial(_unique_keys, keys)
    try:
        parsed = json.loads(raw.decode(), parse_constant=_refuse_constant, object_pairs_hook=unique_keys)
    except UnicodeDecodeError:
        raise ApiError("invalid_json", sentence="The request body is not UTF-8 text.") from None
    except json.JSONDecodeError as exc:
        place = f"line {exc.lineno}, column {exc.colno}"
        raise ApiError("invalid_json", sentence=f"The request body is not valid JSON at {place}.") from None
    except RecursionError:
        raise ApiError("invalid_json", sentence="The request body is nested too deeply.") from None
    except ValueError:  # int() refuses more than 4300 digits
        raise ApiError("invalid_json", sentence="The request body holds a number that is too long.") from None
    if UNSTORABLE.search("".join(keys)):
        raise ApiError(
            "invalid_json", sentence="The request body has a key with a character that is not text."
        )
    if not isinstance(parsed, dict):
        raise ApiError("invalid_json")
    return parsed


def registration(body: dict[str, Any], *, password_min_length: int) -> Registration:
    """Return the registration in `body`. Raises ApiError `validation_failed`."""
    fields = BodyReader(body)
    found = Registration(
        username=fields.username("username"),
        email=fields.email("email"),
        password=fields.new_password("password", password_min_length),
        first_name=fields.name("first_name", "firstName"),
        last_name=fields.name("last_name", "lastName"),
    )
    fields.raise_for_errors()
    return found


def login(body: dict[str, Any]) -> Login:
    """Return the credential in `body`. Raises ApiError `validation_failed`.

    The rules of registration do not apply: what it would refuse is a wrong credential, no more.
    """
    fields = BodyReader(body)
    email, username = fields.text("email"), fields.text("username")
    typed = email if email.strip() else username
    if not typed.strip():
        fields.add_error("email", "Email or username is required.")
    password = fields.required_text("password")
    fields.raise_for_errors()
    return Login(typed, password)


def refresh_token(body: dict[str, Any]) -> str:
    """Return the refresh token in `body`, of any shape. Raises ApiError `validation_failed`."""
    return _one_text(body, "refresh_token")


def password(body: dict[str, Any]) -> str:
    """Return the password that confirms a request. Raises ApiError `validation_failed`."""
    return _one_text(body, "password")


def profile(body: dict[str, Any], stored: Mapping[str, Any]) -> ProfileChange:
    """Return what `body` changes of the columns in `stored`. Raises ApiError `validation_failed`.

    The rules are registration's. What is sent as it is stored is no change, and is not judged: an older
    version had other rules.
    """
    fields = BodyReader(body)
    changes: dict[str, str | None] = {}
    if fields.differs("username", stored["username"]):
        changes["username"] = fields.username("username")
    if fields.differs("email", stored["email"]):
        changes["email"] = fields.email("email")
    for name, camel_case in (("first_name", "firstName"), ("last_name", "lastName")):
        if fields.differs(name if name in body else camel_case, stored[name]):
            changes[name] = fields.name(name, camel_case)
    current_password = fields.text("current_password")
    fields.raise_for_errors()
    # Stripped, or in small letters, it may be what is stored after all; an absent name is null or "".
    changes = {name: value for name, value in changes.items() if (value or "") != (stored[name] or "")}
    return ProfileChange(changes, current_password)


def password_change(body: dict[str, Any], *, password_min_length: int) -> PasswordChange:
    """Return the old and the new password. Raises ApiError `validation_failed`, also when they are equal."""
    fields = BodyReader(body)
    current = fields.required_text("current_password")
    new = fields.new_password("new_password", password_min_length)
    fields.raise_for_errors()
    if len(current) <= MAX_TYPED_CHARACTERS and normalise(new) == normalise(current):
        sentence = "New password must differ from the current one."
        raise ApiError("validation_failed", fields={"new_password": sentence})
    return PasswordChange(current, new)


def _one_text(body: dict[str, Any], name: str) -> str:
    fields = BodyReader(body)
    value = fields.required_text(name)
    fields.raise_for_errors()
    return value


def _unique_keys(seen: list[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of `pairs` and add its keys to `seen`: one look at all is faster than one at each."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ApiError("invalid_json", sentence="The request body has a key twice.")
    seen.extend(found or [""])  # an empty object takes as long as one with a key
    if len(seen) > MAX_KEYS:
        raise ApiError("invalid_json", sentence=f"The request body has more than {MAX_KEYS} keys.")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ApiError("invalid_json", sentence=f"The request body holds {name}, which is not JSON.")
