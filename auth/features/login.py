"""POST /login: an email or a username and a password to a session."""

import logging
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from auth import devices, responses, sign_in, users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.client import Client
from auth.errors import ApiError
from auth.fields import BodyReader
from auth.guard import current_client
from auth.mail import notices, outbox
from auth.services import Auth, current_auth
from auth.throttling import attempts
from auth.tokens.pair import TokenPair
from auth.users import Credential
from config import Settings
from db import Cursor, DatabaseUnavailable, transaction
from runtime import clock

log = logging.getLogger("auth")


@dataclass(frozen=True)
class Login:
    """identifier: the email or username as it was typed, blanks included."""

    identifier: str
    password: str = field(repr=False)

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> "Login":
        """Return the login in `body`. Raises ApiError `validation_failed`.

        The rules of registration do not apply: an identifier that they refuse is a wrong credential.
        """
        reader = BodyReader(body)
        email, username = reader.text("email"), reader.text("username")
        identifier = email if email.strip() else username
        if not identifier.strip():
            reader.add_error("email", "Email or username is required.")
        password = reader.required_text("password")
        reader.raise_for_errors()
        return cls(identifier, password)


@bp.post("/login")
def login() -> dict[str, Any]:
    """Log a user in, for anybody. Answers 200 with the user and the tokens of a new session.

    With REQUIRE_VERIFIED_EMAIL a right password of a user whose email is not verified is a 403.
    """
    auth, client = current_auth(), current_client()
    form = Login.from_body(json_body())
    credential, tokens = sign_in.act_on_proof(
        partial(_prove, auth, form, client),
        partial(_open_session, auth, client),
        refusal="invalid_credentials",
    )
    devices.remember(auth, credential.user.id, client)
    _strengthen_hash(auth, credential, form.password)
    return responses.login(credential.user, tokens)


def _prove(auth: Auth, form: Login, client: Client) -> Credential:
    credential = auth.database.read(users.find_by_login, form.identifier, now=clock.now())
    stored = credential.password_hash if credential else None
    with auth.throttle.login(form.identifier, credential, client):
        if not auth.passwords.verify(form.password, stored) or not credential:
            user_id = credential and credential.user.id
            raise ApiError("invalid_credentials", log_message=f"login_failed user_id={user_id}")
    sign_in.require_verified(credential.user, auth.settings)  # the password was right: nothing is charged
    return credential


def _open_session(auth: Auth, client: Client, credential: Credential) -> TokenPair | None:
    """Return the tokens of a new session. Returns None if the password hash was replaced meanwhile.

    With mail on the user gets a notice of a session on a new device.
    """
    now, settings = clock.now(), auth.settings
    is_new_device = settings.mail is not None and not attempts.is_known(
        credential, client, settings=settings, now=now.timestamp()
    )
    tokens = auth.database.write(
        _store_session, credential, client=client, settings=settings, now=now, is_new_device=is_new_device
    )
    if tokens and is_new_device:
        auth.wake_sender()
    return tokens


def _store_session(
    cur: Cursor,
    credential: Credential,
    *,
    client: Client,
    settings: Settings,
    now: datetime,
    is_new_device: bool,
) -> TokenPair | None:
    user, password_hash = credential.user, credential.password_hash
    with transaction(cur):
        tokens = sign_in.open_session(
            cur, user, password_hash=password_hash, client=client, settings=settings, now=now
        )
        if tokens and is_new_device:
            details = notices.details(client, now)
            outbox.queue_notice(cur, notices.NEW_DEVICE, user_id=user.id, details=details)
        return tokens


def _strengthen_hash(auth: Auth, credential: Credential, password: str) -> None:
    """Replace a hash that is weaker or of an older form. A failure is logged: the login has succeeded."""
    new_hash = auth.passwords.rehash(password, credential.password_hash)
    if new_hash is None:
        return
    user_id = credential.user.id
    try:
        auth.database.write(users.replace_hash, user_id, old=credential.password_hash, new=new_hash)
    except DatabaseUnavailable as exc:
        log.warning("hash_not_strengthened user_id=%s: %s", user_id, exc)
