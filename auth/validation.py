"""Decoded JSON to frozen dataclasses, or an ApiError that names every bad field."""

import json
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any, NoReturn

from auth.errors import ApiError

MAX_PASSWORD_CHARACTERS = 256
MAX_NESTING = 32

_USERNAME = re.compile(r"[A-Za-z0-9._-]{1,50}")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
# https://html.spec.whatwg.org/#valid-e-mail-address, with at least one dot in the domain.
_EMAIL = re.compile(rf"[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})+")
_FIELDS = frozenset({"username", "email", "password", "first_name", "firstName", "last_name", "lastName"})
_FIELDS |= {"current_password", "new_password", "refresh_token"}
_NOT_TEXT = "Text must not hold NUL characters, lone surrogates or deep nesting."
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL refuses NUL, UTF-8 has no lone surrogates


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

    def changes_identity(self, username: str, email: str) -> bool:
        """Return whether the user would have another username or email than these."""
        new = self.changes.get("username", username), self.changes.get("email", email)
        return new != (username, email)

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
    fields = _Fields(body)
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
    fields = _Fields(body)
    email, username = fields.text("email").strip(), fields.text("username").strip()
    if not email and not username:
        fields.complain("email", "Email or username is required.")
    password = fields.required_text("password")
    fields.raise_problems()
    return Login(email or username, password)


def normalise(password: str) -> str:
    """Return the NFC form: two keyboards may compose one password differently (NIST SP 800-63B-4)."""
    return unicodedata.normalize("NFC", password)


def refresh_token(body: dict[str, Any]) -> str:
    """Return the refresh token in `body`, of any shape. Raises ApiError `validation_failed`."""
    return _one_text(body, "refresh_token")


def password(body: dict[str, Any]) -> str:
    """Return the password that confirms a request. Raises ApiError `validation_failed`."""
    return _one_text(body, "password")


def profile(body: dict[str, Any]) -> ProfileChange:
    """Return what `body` changes; the rules are registration's. Raises ApiError `validation_failed`."""
    fields = _Fields(body)
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
    fields = _Fields(body)
    current = fields.required_text("current_password")
    new = fields.new_password("new_password", password_min_length)
    if new and normalise(new) == normalise(current):
        fields.complain("new_password", "New password must differ from the current one.")
    fields.raise_problems()
    return PasswordChange(current, new)


def _one_text(body: dict[str, Any], name: str) -> str:
    fields = _Fields(body)
    value = fields.required_text(name)
    fields.raise_problems()
    return value


class _Fields:
    """Reads fields out of a body and gathers what is wrong with them, one sentence a field."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body
        # A name that the client made up is not to be echoed or logged.
        names = (name if name in _FIELDS else "body" for name in body if not _is_storable(body[name]))
        self._problems = dict.fromkeys(names, _NOT_TEXT)

    def complain(self, name: str, sentence: str) -> None:
        self._problems.setdefault(name, sentence)

    def raise_problems(self) -> None:
        if self._problems:
            raise ApiError("validation_failed", fields=self._problems)

    def text(self, name: str) -> str:
        """Return the field as it was sent, "" when it is absent, null or bad."""
        value = self._body.get(name)
        if name in self._problems or value is None:
            return ""
        if not isinstance(value, str):
            self.complain(name, f"{_label(name)} must be a string.")
            return ""
        return value

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if not value:
            self.complain(name, f"{_label(name)} is required.")
        return value

    def username(self, name: str) -> str:
        value = self.text(name).strip()
        if not value:
            self.complain(name, "Username is required.")
        elif not _USERNAME.fullmatch(value):
            self.complain(name, "Username must be 1 to 50 letters, digits, dots, underscores or hyphens.")
        return value

    def email(self, name: str) -> str:
        value = self.text(name).strip()
        if not value:
            self.complain(name, "Email is required.")
        elif len(value) > 255:
            self.complain(name, "Email must be at most 255 characters long.")
        elif not _EMAIL.fullmatch(value):
            self.complain(name, "Email must be an address like name@example.com.")
        return value.lower()

    def new_password(self, name: str, min_length: int) -> str:
        value = self.required_text(name)
        length = len(normalise(value))
        if value and length < min_length:
            self.complain(name, f"{_label(name)} must be at least {min_length} characters long.")
        elif length > MAX_PASSWORD_CHARACTERS:
            self.complain(name, f"{_label(name)} must be at most {MAX_PASSWORD_CHARACTERS} characters long.")
        return value

    def name(self, name: str, camel_case: str) -> str | None:
        """Return an optional personal name; of the two spellings the snake_case one counts."""
        spelling = name if name in self._body else camel_case
        value = self.text(spelling).strip()
        if len(value) > 100:
            self.complain(spelling, f"{_label(name)} must be at most 100 characters long.")
        return value or None


def _label(name: str) -> str:
    words = re.sub(r"([A-Z])", r" \1", name).replace("_", " ")
    return words.capitalize()


def _is_storable(value: object) -> bool:
    """Return whether every string in `value` can be stored and `value` is not nested too deeply."""
    pending = [(value, 0)]
    while pending:  # no recursion: the nesting is the client's
        item, depth = pending.pop()
        if isinstance(item, str):
            if _UNSTORABLE.search(item):
                return False
        elif isinstance(item, (list, dict)):
            if depth == MAX_NESTING:
                return False
            children = item.values() if isinstance(item, dict) else item
            pending.extend((child, depth + 1) for child in children)
    return True


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or any(_UNSTORABLE.search(key) for key in found):
        raise ValueError("a key is repeated or not text")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
