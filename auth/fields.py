"""The fields of a JSON body: BodyReader checks each against its rule, with a sentence for every bad one."""

import re
from itertools import chain
from typing import Any

from auth.errors import ApiError
from auth.passwords import MAX_PASSWORD_CHARACTERS, MAX_TYPED_CHARACTERS, normalise

MAX_NESTING = 32

_NAMES = frozenset({"username", "email", "password", "first_name", "firstName", "last_name", "lastName"})
_NAMES |= {"current_password", "new_password", "refresh_token", "token", "ticket", "code", "recovery_code"}
_NOT_TEXT = "Text must not hold NUL characters, lone surrogates or deep nesting."
_USERNAME = re.compile(r"[A-Za-z0-9._-]{1,50}")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
# https://html.spec.whatwg.org/#valid-e-mail-address, with at least one dot in the domain.
_EMAIL = re.compile(rf"[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})+")
UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL refuses NUL, UTF-8 has no lone surrogates


class BodyReader:
    """Reads the fields of a body. Gathers one sentence for each bad field."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body
        names = [name for name in body if name in _NAMES and not _are_storable([body[name]])]
        if not _are_storable([body[name] for name in body if name not in _NAMES]):
            names.append("body")  # never echo or log a name that the client made up
        self._errors = dict.fromkeys(names, _NOT_TEXT)

    def add_error(self, name: str, sentence: str) -> None:
        """Add a sentence for a field, unless it has one."""
        self._errors.setdefault(name, sentence)

    def raise_for_errors(self) -> None:
        """Raise ApiError `validation_failed` if a field is bad."""
        if self._errors:
            raise ApiError("validation_failed", fields=self._errors)

    def has(self, name: str) -> bool:
        """Return whether the body has the field."""
        return name in self._body

    def differs(self, name: str, stored: object) -> bool:
        """Return whether the body has the field, with another value than the stored one."""
        return name in self._body and self._body[name] != stored

    def text(self, name: str) -> str:
        """Return the field as it was sent. Returns "" if it is absent, null or bad."""
        value = self._body.get(name)
        if name in self._errors or value is None:
            return ""
        if not isinstance(value, str):
            self.add_error(name, f"{label(name)} must be a string.")
            return ""
        return value

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if not value:
            self.add_error(name, f"{label(name)} is required.")
        return value

    def username(self, name: str) -> str:
        value = self.text(name).strip()
        if not value:
            self.add_error(name, "Username is required.")
        elif not _USERNAME.fullmatch(value):
            self.add_error(name, "Username must be 1 to 50 letters, digits, dots, underscores or hyphens.")
        return value

    def email(self, name: str) -> str:
        value = self.text(name).strip()
        if not value:
            self.add_error(name, "Email is required.")
        elif len(value) > 255:
            self.add_error(name, "Email must be at most 255 characters long.")
        elif not _EMAIL.fullmatch(value):
            self.add_error(name, "Email must be an address like name@example.com.")
        return value.lower()

    def new_password(self, name: str, min_length: int) -> str:
        """Return the field as it was sent. Returns "" if its length is not that of a password."""
        value = self.required_text(name)
        if len(value) > MAX_TYPED_CHARACTERS or len(composed := normalise(value)) > MAX_PASSWORD_CHARACTERS:
            self.add_error(name, f"{label(name)} must be at most {MAX_PASSWORD_CHARACTERS} characters long.")
            return ""
        if value and len(composed) < min_length:
            self.add_error(name, f"{label(name)} must be at least {min_length} characters long.")
            return ""
        return value

    def name(self, name: str, camel_case: str) -> str | None:
        """Return an optional personal name. If both spellings were sent, the snake_case one counts."""
        spelling = name if name in self._body else camel_case
        value = self.text(spelling).strip()
        if len(value) > 100:
            self.add_error(spelling, f"{label(name)} must be at most 100 characters long.")
        return value or None


def required_text(body: dict[str, Any], name: str) -> str:
    """Return the one field that a body must have. Raises ApiError `validation_failed`."""
    reader = BodyReader(body)
    value = reader.required_text(name)
    reader.raise_for_errors()
    return value


def label(name: str) -> str:
    """Return the name of a field in a sentence: "First name" for first_name and firstName."""
    words = re.sub(r"([A-Z])", r" \1", name).replace("_", " ")
    return words.capitalize()


def _are_storable(values: list[Any]) -> bool:
    """Return whether PostgreSQL can store every string in `values`, and none is nested too deeply.

    Level by level: a body has room for 30,000 values, and one call for each would take too long. A loop and
    no recursion: the client decides on the nesting.
    """
    for _ in range(MAX_NESTING + 1):
        if UNSTORABLE.search("".join([value for value in values if type(value) is str])):
            return False
        lists = [value for value in values if type(value) is list]
        objects = [value.values() for value in values if type(value) is dict]
        values = [*chain.from_iterable(lists), *chain.from_iterable(objects)]
        if not values:
            return True
    return False
