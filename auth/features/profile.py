"""GET, PATCH and DELETE /me: a user reads, changes and deletes what belongs to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import g

from auth import responses, sign_in, users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.errors import ApiError
from auth.fields import BodyReader, required_text
from auth.guard import current_client, login_required, require_found
from auth.services import current_auth
from auth.users import Credential, User


@dataclass(frozen=True)
class ProfileChange:
    """Columns of users with their new values, and the password that some of them need."""

    changes: dict[str, str | None]
    current_password: str = field(repr=False)

    @classmethod
    def from_body(cls, body: dict[str, Any], stored: Mapping[str, Any]) -> "ProfileChange":
        """Return what `body` changes of the columns in `stored`. Raises ApiError `validation_failed`.

        The rules are those of registration. A value that equals the stored one is not judged: an earlier
        version had other rules.
        """
        reader = BodyReader(body)
        changes: dict[str, str | None] = {}
        if reader.differs("username", stored["username"]):
            changes["username"] = reader.username("username")
        if reader.differs("email", stored["email"]):
            changes["email"] = reader.email("email")
        for name, camel_case in (("first_name", "firstName"), ("last_name", "lastName")):
            if reader.differs(name if reader.has(name) else camel_case, stored[name]):
                changes[name] = reader.name(name, camel_case)
        current_password = reader.text("current_password")
        reader.raise_for_errors()
        # A stripped or lower-cased value may equal the stored one. An absent name is stored as NULL or "".
        changes = {name: value for name, value in changes.items() if (value or "") != (stored[name] or "")}
        return cls(changes, current_password)

    def needs_password(self) -> bool:
        """Return whether the change takes the current password: it changes what the user logs in with."""
        return not self.changes.keys().isdisjoint(("username", "email"))

    def password(self) -> str:
        """Return the current password. Raises ApiError `validation_failed` if it was not sent."""
        if not self.current_password:
            sentence = "Current password is required to change the username or the email."
            raise ApiError("validation_failed", fields={"current_password": sentence})
        return self.current_password


@bp.get("/me")
@login_required
def me() -> dict[str, Any]:
    """Answer the user object, for the user."""
    return responses.user(require_found(current_auth().database.read(users.find, g.principal)))


@bp.patch("/me")
@login_required
def change_profile() -> dict[str, Any]:
    """Change the username, the email or the names, for the user. Answers the user object.

    The username and the email take the current password.
    """
    auth = current_auth()
    body = json_body()
    stored = require_found(auth.database.read(users.find, g.principal))
    form = ProfileChange.from_body(body, vars(stored))
    if not form.changes:
        return responses.user(stored)

    def update(credential: Credential | None) -> User | None:
        password_hash = credential.password_hash if credential else None
        return auth.database.write(users.update, g.principal, form.changes, password_hash=password_hash)

    if form.needs_password():
        return responses.user(
            sign_in.reauthenticate(auth, g.principal, form.password(), update, client=current_client())
        )
    return responses.user(require_found(update(None)))


@bp.delete("/me")
@login_required
def delete_user() -> tuple[str, int]:
    """Delete the user with all sessions, for the user, who confirms it with the password. Answers 204."""
    auth = current_auth()
    password = required_text(json_body(), "password")

    def delete(credential: Credential) -> bool | None:
        if not auth.database.write(users.delete, g.principal, password_hash=credential.password_hash):
            return None
        auth.throttle.forget(credential.user.id)
        return True

    sign_in.reauthenticate(auth, g.principal, password, delete, client=current_client())
    return "", 204
