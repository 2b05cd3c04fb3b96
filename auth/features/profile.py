"""GET, PATCH and DELETE /me: a user reads, changes and deletes what belongs to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask import g

from auth import constraint_errors, emails, responses, users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.errors import ApiError
from auth.fields import BodyReader
from auth.guard import current_client, login_required, require_found
from auth.mail import outbox
from auth.mail.outbox import NewMail
from auth.principal import Principal
from auth.reauthentication import Confirmation, Proof, reauthenticate
from auth.services import current_auth
from auth.tokens import one_time
from auth.tokens.one_time import VERIFY_EMAIL
from auth.two_factor.verification import TypedCode
from auth.users import User
from db import Cursor, IntegrityError, transaction


@dataclass(frozen=True)
class ProfileChange:
    """Columns of users with their new values, and the password and the code that some of them need."""

    changes: dict[str, str | None]
    current_password: str = field(repr=False)
    typed: TypedCode
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
        current_password, typed = reader.text("current_password"), TypedCode.from_reader(reader)
        reader.raise_for_errors()
        # A stripped or lower-cased value may equal the stored one. An absent name is stored as NULL or "".
        changes = {name: value for name, value in changes.items() if (value or "") != (stored[name] or "")}
        return cls(changes, current_password, typed, reader.has("email") and "email" not in changes)

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

    The username and the email take the current password, and a code if a second factor is on. If mail is on,
    another email is pending until the user verifies it; the present email ends the wait.
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

    def update(proof: Proof | None) -> User | None:
        return auth.database.write(store, g.principal, form.changes, proof=proof)

    if not form.needs_password():
        return responses.user(require_found(update(None)))
    password = form.password()
    if new_email:
        auth.throttle.mail_request(client)
    user = reauthenticate(auth, g.principal, password, update, client=client, typed=form.typed)
    if new_email or form.typed.recovery_code:  # the link, or the notice of a used recovery code
        auth.wake_sender()
    return responses.user(user)


def _store(
    cur: Cursor, principal: Principal, changes: dict[str, str | None], *, proof: Proof | None
) -> User | None:
    """Change the user at once. proof: None for a change that takes none.

    Returns None as `users.update`, raises as `constraint_errors.store` and `Proof.use_up` do.
    """
    password_hash = proof.password_hash if proof else None

    def write(values: dict[str, str | None]) -> User | None:
        if not (proof and proof.asks_for_codes):
            return users.update(cur, principal, values, password_hash=password_hash)
        with transaction(cur):
            user = users.update(cur, principal, values, password_hash=password_hash)
            if user:
                proof.use_up(cur)
            return user

    return constraint_errors.store(cur, changes, write)


def _store_with_pending(
    cur: Cursor,
    principal: Principal,
    changes: dict[str, str | None],
    *,
    proof: Proof | None,
    new_email: str | None,
) -> User | None:
    """Do what `_store` does, but have `new_email` wait until it is verified, and mail the link to it.

    What was pending before is over, and its link is void. new_email: None if no other address is to wait.
    Raises ApiError `email_taken` if another user has it.
    """
    password_hash = proof.password_hash if proof else None

    def write(values: dict[str, str | None]) -> User | None:
        with transaction(cur):
            user_id = emails.set_pending(cur, principal, new_email, password_hash=password_hash)
            if user_id is None:
                return None
            if values and not users.update(cur, principal, values, password_hash=password_hash):
                raise principal.session_ended()  # it was revoked since the statement before
            if proof:
                proof.use_up(cur)
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
    """Delete the user with all sessions, for the user. Answers 204.

    The user confirms it with the password, and with a code if a second factor is on.
    """
    auth = current_auth()
    form = Confirmation.from_body(json_body(), TypedCode.from_reader)

    def delete(proof: Proof) -> bool | None:
        if not auth.database.write(_delete, g.principal, proof):
            return None
        auth.throttle.forget(proof.user.id)
        return True

    reauthenticate(auth, g.principal, form.password, delete, client=current_client(), typed=form.typed)
    return "", 204


def _delete(cur: Cursor, principal: Principal, proof: Proof) -> bool:
    """Delete the user. Returns False as `users.delete` does, raises as that and `Proof.use_up` do."""
    if not proof.asks_for_codes:
        return users.delete(cur, principal, password_hash=proof.password_hash)
    try:
        with transaction(cur):
            # The code goes with the user, so that it is used up before. The lock keeps the hash as it is.
            if not users.lock_own(cur, principal, password_hash=proof.password_hash):
                return False
            proof.use_up(cur)
            if not users.delete(cur, principal, password_hash=proof.password_hash):
                raise principal.session_ended()
            return True
    except IntegrityError as exc:  # a deferred foreign key is checked when the transaction ends
        raise ApiError("account_in_use") from exc
