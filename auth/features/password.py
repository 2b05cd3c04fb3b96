"""PUT /me/password: a new password, which revokes every session and opens a new one."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask import g

from auth import devices, emails, new_passwords, responses, sessions, sign_in, users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.client import Client
from auth.errors import ApiError
from auth.fields import BodyReader
from auth.guard import current_client, login_required
from auth.mail import notices, outbox
from auth.passwords import MAX_TYPED_CHARACTERS, normalise
from auth.principal import Principal
from auth.reauthentication import Proof, reauthenticate
from auth.services import current_auth
from auth.tokens import one_time
from auth.tokens.pair import TokenPair
from auth.two_factor import factors
from auth.two_factor.verification import TypedCode
from config import Settings
from db import Cursor, transaction
from runtime import clock


@dataclass(frozen=True)
class PasswordChange:
    """The current password and perhaps a code, which prove who asks, and the new password."""

    current_password: str = field(repr=False)
    new_password: str = field(repr=False)
    typed: TypedCode

    @classmethod
    def from_body(cls, body: dict[str, Any], *, password_min_length: int) -> "PasswordChange":
        """Return both passwords. Raises ApiError `validation_failed`, also if they are equal."""
        reader = BodyReader(body)
        current = reader.required_text("current_password")
        new = reader.new_password("new_password", password_min_length)
        typed = TypedCode.from_reader(reader)
        reader.raise_for_errors()
        if len(current) <= MAX_TYPED_CHARACTERS and normalise(new) == normalise(current):
            sentence = "New password must differ from the current one."
            raise ApiError("validation_failed", fields={"new_password": sentence})
        return cls(current, new, typed)


@bp.put("/me/password")
@login_required
def change_password() -> dict[str, Any]:
    """Change the password, for the user, who confirms it with the current one.

    If a second factor is on, a code is needed as well. Every session of the user has ended. Answers the
    tokens of a new one.
    """
    auth, client = current_auth(), current_client()
    form = PasswordChange.from_body(json_body(), password_min_length=auth.settings.password_min_length)

    def change(proof: Proof) -> TokenPair | None:
        user = proof.user
        if sentence := new_passwords.weakness(
            form.new_password, username=user.username, email=user.email, settings=auth.settings
        ):
            raise ApiError("validation_failed", fields={"new_password": sentence})
        tokens = auth.database.write(
            _change,
            proof,
            principal=g.principal,
            new_hash=auth.passwords.hash(form.new_password),
            client=client,
            settings=auth.settings,
            now=clock.now(),
        )
        if tokens is not None:
            auth.wake_sender()
            devices.remember(auth, user.id, client)
        return tokens

    tokens = reauthenticate(auth, g.principal, form.current_password, change, client=client, typed=form.typed)
    return responses.token_pair(tokens)


def _change(
    cur: Cursor,
    proof: Proof,
    *,
    principal: Principal,
    new_hash: str,
    client: Client,
    settings: Settings,
    now: datetime,
) -> TokenPair | None:
    """Store the new hash, revoke every session of the user, and return the tokens of a new session.

    Who has stolen a token of any of the sessions is out, too, and every link that was mailed is void. Returns
    None if the password hash was replaced meanwhile. Raises ApiError `token_invalid` if the principal's
    session has ended, `code_invalid` if the code was used meanwhile. Nothing is stored then.
    """
    user = proof.user
    with transaction(cur):
        # First the row of the user, which a login locks: no session is opened in between.
        if not users.replace_hash(cur, user.id, old=proof.password_hash, new=new_hash):
            return None
        if not sessions.revoke_all(cur, principal):
            raise principal.session_ended()
        # Account takeover: who knew the old password may wait for a link, have an address pending, or have
        # set a second factor up. Also without mail: it may be on again before a link expires, and a pending
        # address never expires.
        one_time.void(cur, user.id)
        emails.forget_pending(cur, user.id)
        if settings.two_factor:
            factors.void_setup(cur, user.id)
        proof.use_up(cur)
        if settings.mail:
            details = notices.details(client, now)
            outbox.queue_notice(cur, notices.PASSWORD_CHANGED, user_id=user.id, details=details)
        return sign_in.open_session(
            cur, user, password_hash=new_hash, client=client, settings=settings, now=now
        )
