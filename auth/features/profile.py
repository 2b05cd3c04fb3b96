"""GET, PATCH and DELETE /me: a user reads, changes and deletes what belongs to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask import g

from auth import constraint_errors, emails, responses, sign_in, users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.errors import ApiError
from auth.fields import BodyReader, required_text
from auth.guard import current_client, login_required, require_found
from auth.mail import outbox
from auth.mail.outbox import NewMail
from auth.principal import Principal
from auth.services import current_auth
from auth.tokens import one_time
from auth.tokens.one_time import VERIFY_EMAIL
from auth.users import Credential, User
from db import Cursor, transaction


@dataclass(frozen=True)
class ProfileChange:
    """Columns of users with their new values, and the password that some of them need."""

    changes: dict[str, str | None]
    current_password: str = field(repr=False)
    keeps_email: bool = False  # the stored email was sent

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
        return cls(changes, current_password, reader.has("email") and "email" not in changes)

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

    The username and the email take the current password. If mail is on, another email is pending until the
    user verifies it; the present email ends the wait.
    """
    auth, client = current_auth(), current_client()
    body = json_body()
    stored = require_found(auth.database.read(users.find, g.principal))
    form = ProfileChange.from_body(body, vars(stored))
    new_email = form.changes.get("email") if auth.settings.mail else None
    ends_pending = stored.pending_email is not None and (form.keeps_email or "email" in form.changes)
    if not form.changes and not ends_pending:
        return responses.user(stored)
    store = partial(_store_with_pending, new_email=new_email) if new_email or ends_pending else _store

    def update(credential: Credential | None) -> User | None:
        password_hash = credential.password_hash if credential else None
        return auth.database.write(store, g.principal, form.changes, password_hash=password_hash)

    if not form.needs_password():
        return responses.user(require_found(update(None)))
    password = form.password()
    if new_email:
        auth.throttle.mail_request(client)
    user = sign_in.reauthenticate(auth, g.principal, password, update, client=client)
    if new_email:
        auth.wake_sender()
    return responses.user(user)


def _store(
    cur: Cursor, principal: Principal, changes: dict[str, str | None], *, password_hash: str | None
) -> User | None:
    """Change the user at once. Returns None as `users.update`, raises as `constraint_errors.store` does."""
    return constraint_errors.store(
        cur, changes, lambda values: users.update(cur, principal, values, password_hash=password_hash)
    )


def _store_with_pending(
    cur: Cursor,
    principal: Principal,
    changes: dict[str, str | None],
    *,
    password_hash: str | None,
    new_email: str | None,
) -> User | None:
    """Do what `_store` does, but have `new_email` wait until it is verified, and mail the link to it.

    What was pending before is over, and its link is void. new_email: None if no other address is to wait.
    Raises ApiError `email_taken` if another user has it.
    """

    def write(values: dict[str, str | None]) -> User | None:
        with transaction(cur):
            user_id = emails.set_pending(cur, principal, new_email, password_hash=password_hash)
            if user_id is None:
                return None
            if values and not users.update(cur, principal, values, password_hash=password_hash):
                raise principal.session_ended()  # it was revoked since the statement before
            one_time.void(cur, user_id, purpose=VERIFY_EMAIL)
            if new_email:
                _queue_link(cur, user_id, new_email)
            return users.find_by_id(cur, user_id)

    columns = {name: value for name, value in changes.items() if name != "email" or not new_email}
    return constraint_errors.store(cur, columns, write)


def _queue_link(cur: Cursor, user_id: int, email: str) -> None:
    """Queue the mail that verifies a pending address, unless another user has the address already.

    The unique index decides once more when the address is verified.
    """
    owner = users.find_by_email(cur, email)
    if owner and owner.id != user_id:
        raise ApiError("email_taken")
    outbox.queue(cur, NewMail(VERIFY_EMAIL, email, user_id))


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
