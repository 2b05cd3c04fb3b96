"""POST /email/verify and /email/resend: a user proves to receive mail at an address."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from flask import g

from auth import constraint_errors, emails, responses, users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.errors import ApiError
from auth.fields import required_text
from auth.guard import (
    current_client,
    feature_required,
    login_required,
    require_feature,
    require_found,
)
from auth.mail import notices, outbox
from auth.mail.outbox import NewMail
from auth.services import current_auth
from auth.tokens import one_time
from auth.tokens.one_time import VERIFY_EMAIL
from auth.users import User
from db import Cursor, transaction
from runtime import clock


@bp.post("/email/verify")
def verify_email() -> dict[str, Any]:
    """Verify the address that a link was mailed to, for the holder of its token. Answers the user object.

    A pending address becomes the email. Sessions go on.
    """
    auth, client = current_auth(), current_client()
    require_feature(auth.settings.mail)
    token = required_text(json_body(), "token")
    now = clock.now()
    user = auth.database.write(_verify, token, notice=notices.details(client, now), now=now)
    if user is None:
        auth.throttle.unknown_token(client)
        raise ApiError("link_invalid")
    auth.wake_sender()
    return responses.user(user)


@bp.post("/email/resend")
@feature_required(lambda settings: settings.mail)
@login_required
def resend_verification() -> tuple[dict[str, Any], int]:
    """Mail the link once more, for the user, to the pending address or else to the email. Answers 202."""
    auth = current_auth()
    auth.throttle.mail_request(current_client())
    if not require_found(auth.database.write(outbox.queue_verification, g.principal)):
        raise ApiError("already_verified")
    auth.wake_sender()
    return {}, 202


def _verify(cur: Cursor, token: str, *, notice: dict[str, str], now: datetime) -> User | None:
    """Use a token up, and return its user with the verified address. Returns None if the token is not valid.

    notice: what the mail to the former address tells. Raises as `constraint_errors.store` does, for example
    if another user has the address by now. Then nothing is stored, and the token stays valid.
    """
    owner = one_time.find(cur, token, purpose=VERIFY_EMAIL, now=now)
    if owner is None:
        return None

    def store(_: constraint_errors.Values) -> User | None:
        with transaction(cur):
            users.lock(cur, owner.user_id)
            user = users.find_by_id(cur, owner.user_id)
            if user is None or owner.email not in (user.email, user.pending_email):
                return None
            if not one_time.consume(cur, token, owner, purpose=VERIFY_EMAIL, now=now):
                return None
            if owner.email != user.email:
                _replace_email(cur, user, owner.email, notice)
            emails.set_verified(cur, user.id, owner.email)
            return replace(user, email=owner.email, email_verified=True, pending_email=None)

    return constraint_errors.store(cur, {"email": owner.email}, store)


def _replace_email(cur: Cursor, user: User, email: str, notice: dict[str, str]) -> None:
    users.set_email(cur, user.id, email)
    one_time.void(cur, user.id)  # a link that went to the former address would still reset the password
    # To the former address: an attacker who took the account over cannot hide the change from its owner.
    details = notice | {"address": email, outbox.WAS_VERIFIED: "yes" if user.email_verified else ""}
    outbox.queue(cur, NewMail(notices.EMAIL_CHANGED, user.email, user.id, details))
