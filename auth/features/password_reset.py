"""POST /password/forgot and POST /password/reset: a new password for a user who has lost the old one."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from auth import emails, new_passwords, sessions, users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.client import Client
from auth.errors import ApiError
from auth.fields import BodyReader
from auth.guard import current_client, require_feature
from auth.mail import notices, outbox
from auth.mail.outbox import NewMail
from auth.services import current_auth
from auth.throttling import counters, keys
from auth.tokens import one_time
from auth.tokens.one_time import Owner
from auth.two_factor import factors
from auth.users import User
from config import Settings
from db import Cursor, transaction
from runtime import clock


@dataclass(frozen=True)
class PasswordReset:
    """The token of a link, which proves who asks, and the new password."""

    token: str = field(repr=False)
    new_password: str = field(repr=False)

    @classmethod
    def from_body(cls, body: dict[str, Any], *, password_min_length: int) -> "PasswordReset":
        """Return what `body` asks for. Raises ApiError `validation_failed`."""
        reader = BodyReader(body)
        token = reader.required_text("token")
        new_password = reader.new_password("new_password", password_min_length)
        reader.raise_for_errors()
        return cls(token, new_password)


@bp.post("/password/forgot")
def forgot_password() -> tuple[dict[str, Any], int]:
    """Have a link mailed that resets the password, for anybody. Answers 202, also if nobody has the email.

    User enumeration: the request looks for no user. Whoever sends the mail does so, later.
    """
    auth, client = current_auth(), current_client()
    require_feature(auth.settings.mail)
    email = forgotten_email(json_body())
    auth.throttle.mail_request(client)
    auth.database.write(outbox.queue, NewMail(one_time.RESET_PASSWORD, recipient=email))
    auth.wake_sender()
    return {}, 202


def forgotten_email(body: dict[str, Any]) -> str:
    """Return the email in `body`. Raises ApiError `validation_failed`."""
    reader = BodyReader(body)
    email = reader.email("email")
    reader.raise_for_errors()
    return email


@bp.post("/password/reset")
def reset_password() -> tuple[str, int]:
    """Replace the password, for the holder of a link's token. Answers 204.

    Every session of the user has ended, and the account is not locked any more. Nobody is logged in.
    """
    auth, client, now = current_auth(), current_client(), clock.now()
    require_feature(auth.settings.mail)
    form = PasswordReset.from_body(json_body(), password_min_length=auth.settings.password_min_length)
    user = auth.database.read(_find_user, form.token, now=now)
    if user is None:
        auth.throttle.unknown_token(client)
        raise ApiError("link_invalid")
    if sentence := new_passwords.weakness(
        form.new_password, username=user.username, email=user.email, settings=auth.settings
    ):
        raise ApiError("validation_failed", fields={"new_password": sentence})
    auth.database.write(
        _reset,
        form.token,
        Owner(user.id, user.email),
        new_hash=auth.passwords.hash(form.new_password),
        client=client,
        settings=auth.settings,
        now=now,
    )
    auth.wake_sender()
    return "", 204


def _find_user(cur: Cursor, token: str, *, now: datetime) -> User | None:
    """Return the user whom a token lets choose a password. Returns None if the token is not valid (any more).

    A change of the email makes it void: who reads the old mailbox may be somebody else.
    """
    owner = one_time.find(cur, token, purpose=one_time.RESET_PASSWORD, now=now)
    user = users.find_by_id(cur, owner.user_id) if owner else None
    return user if owner and user and user.email == owner.email else None


def _reset(
    cur: Cursor,
    token: str,
    owner: Owner,
    *,
    new_hash: str,
    client: Client,
    settings: Settings,
    now: datetime,
) -> None:
    """Store the new hash, use the token up, and end whatever somebody else may hold.

    Raises ApiError `link_invalid` if the token or the email is another meanwhile (TOCTOU). Nothing is stored
    then.
    """
    user_id = owner.user_id
    with transaction(cur):
        # First the row of the user, which a login and the sender lock: see auth.sessions on deadlocks.
        if not users.set_hash(cur, user_id, email=owner.email, new=new_hash):
            raise ApiError("link_invalid")
        sessions.revoke_all_of_user(cur, user_id)
        if not one_time.consume(cur, token, owner, purpose=one_time.RESET_PASSWORD, now=now):
            raise ApiError("link_invalid")
        one_time.void(cur, user_id)
        if settings.two_factor:
            factors.void_setup(cur, user_id)
        emails.set_verified(cur, user_id, owner.email)
        details = notices.details(client, now)
        outbox.queue_notice(cur, notices.PASSWORD_RESET, user_id=user_id, details=details)
        if settings.rate_limits:
            # In the transaction: a lock that outlives the reset would keep the owner out. And at its end: a
            # charge to these budgets holds no other lock, so that each waits for the other briefly at most.
            counters.forget(cur, keys.account(user_id))
