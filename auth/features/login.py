"""POST /login: an email or a username and a password to a session."""

import logging
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from auth import devices, responses, sign_in, users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.client import Client
from auth.errors import ApiError
from auth.fields import BodyReader
from auth.guard import current_client
from auth.services import Auth, current_auth
from auth.tokens.pair import TokenPair
from auth.users import Credential
from db import DatabaseUnavailable
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

    With REQUIRE_VERIFIED_EMAIL a right password of a user whose email is not verified is a 403. With a second
    factor a right password is a 401 with a ticket.
    """
    auth, client = current_auth(), current_client()
    form = Login.from_body(json_body())

    def admit(credential: Credential) -> TokenPair | None:
        return sign_in.admit(auth, credential, client)

    credential, tokens = sign_in.act_on_proof(
        partial(_prove, auth, form, client), admit, refusal="invalid_credentials"
    )
    devices.remember(auth, credential.user.id, client)
    return responses.login(credential.user, tokens)


def _prove(auth: Auth, form: Login, client: Client) -> Credential:
    credential = auth.database.read(users.find_by_login, form.identifier, now=clock.now())
    stored = credential.password_hash if credential else None
    with auth.throttle.login(form.identifier, credential, client):
        if not auth.passwords.verify(form.password, stored) or not credential:
            user_id = credential and credential.user.id
            raise ApiError("invalid_credentials", log_message=f"login_failed user_id={user_id}")
    return _with_strong_hash(auth, credential, form.password)


def _with_strong_hash(auth: Auth, credential: Credential, password: str) -> Credential:
    """Replace a hash that is weaker or of an older form, and return the credential with the hash of now.

    A failure is logged: the password was right. A ticket is bound to the hash, so this comes first.
    """
    new_hash = auth.passwords.rehash(password, credential.password_hash)
    if new_hash is None:
        return credential
    user_id, old_hash = credential.user.id, credential.password_hash
    try:
        is_replaced = auth.database.write(users.replace_hash, user_id, old=old_hash, new=new_hash)
    except DatabaseUnavailable as exc:
        log.warning("hash_not_strengthened user_id=%s: %s", user_id, exc)
        return credential
    return replace(credential, password_hash=new_hash) if is_replaced else credential
