"""POST /2fa/setup and /2fa/enable: a user enrols an authenticator app."""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from flask import g

from auth import users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.client import Client
from auth.errors import ApiError
from auth.fields import BodyReader, required_text
from auth.guard import current_client, feature_required, login_required, require_feature, require_found
from auth.mail import notices, outbox
from auth.principal import Principal
from auth.reauthentication import prove_password
from auth.services import current_auth
from auth.sign_in import act_on_proof
from auth.two_factor import factors, key_uri, totp
from auth.two_factor.factors import Factor, State
from auth.two_factor.verification import TypedCode
from auth.users import Credential
from config import Settings
from db import Cursor, transaction
from runtime import clock

SETUP_SECONDS = 600


@bp.post("/2fa/setup")
@feature_required(lambda settings: settings.two_factor)
@login_required
def set_up_second_factor() -> dict[str, Any]:
    """Make the secret of a second factor, for the user, who confirms it with the password.

    Answers the secret for an authenticator app. Nothing is in force before `POST /2fa/enable`. A setup in the
    place of an earlier one makes that void.
    """
    auth, client = current_auth(), current_client()
    second_factor = require_feature(auth.second_factor)
    password = required_text(json_body(), "password")
    secret = secrets.token_bytes(totp.SECRET_BYTES)

    def store(credential: Credential) -> dict[str, Any] | None:
        user = credential.user
        if user.two_factor:
            raise ApiError("two_factor_on")
        # Before the write: a failure here leaves an earlier setup as it was.
        uri = key_uri.key_uri(secret, issuer=second_factor.settings.totp_issuer, account=user.username)
        answer = {
            "secret": key_uri.as_text(secret),
            "otpauth_url": uri,
            "qr_svg": key_uri.qr_svg(uri),
            "expires_in": SETUP_SECONDS,
        }
        is_stored = auth.database.write(
            factors.set_up,
            g.principal,
            second_factor.encrypt(secret, user_id=user.id),
            password_hash=credential.password_hash,
            expires_at=clock.now() + timedelta(seconds=SETUP_SECONDS),
        )
        return answer if is_stored else None

    _, answer = act_on_proof(
        partial(prove_password, auth, g.principal, password, client), store, refusal="wrong_password"
    )
    return answer


@bp.post("/2fa/enable")
@feature_required(lambda settings: settings.two_factor)
@login_required
def enable_second_factor() -> dict[str, Any]:
    """Put the second factor in force, for the user, who shows a code of the app. Answers the recovery codes.

    The code is used up. Sessions go on.
    """
    auth, client = current_auth(), current_client()
    second_factor = require_feature(auth.second_factor)
    reader = BodyReader(json_body())
    typed = TypedCode.required_of_the_app(reader)
    reader.raise_for_errors()
    setup = _live_setup(require_found(auth.database.read(factors.find_state, g.principal)))
    if not second_factor.can_decrypt(setup):  # SECRET_KEY was replaced since
        raise ApiError("setup_required")
    code = second_factor.prove(setup, typed, client, status=400)
    assert code.step is not None  # a setup has no recovery codes
    shown, recovery_hashes = second_factor.new_recovery_codes(user_id=setup.user_id)
    auth.database.write(
        _enable,
        g.principal,
        setup,
        step=code.step,
        recovery_hashes=recovery_hashes,
        client=client,
        settings=auth.settings,
    )
    auth.wake_sender()
    return {"recovery_codes": shown}


def _live_setup(state: State) -> Factor:
    if state.is_on:
        raise ApiError("two_factor_on")
    if state.setup is None:
        raise ApiError("setup_required")
    return state.setup


def _enable(
    cur: Cursor,
    principal: Principal,
    setup: Factor,
    *,
    step: int,
    recovery_hashes: Sequence[bytes],
    client: Client,
    settings: Settings,
) -> None:
    """Put the factor in force.

    Raises ApiError, and stores nothing, if another request was faster: it ended the session, it enabled the
    setup, or it replaced the setup.
    """
    with transaction(cur):
        # Account takeover: who knew the old password enables a setup while the owner changes the password.
        # The lock waits for that change. Only a later statement sees that the session has ended (TOCTOU).
        users.lock(cur, setup.user_id)
        if not factors.enable(cur, principal, setup, step=step, recovery_hashes=recovery_hashes):
            _live_setup(require_found(factors.find_state(cur, principal)))
            raise ApiError("setup_required")
        if settings.mail:
            details = notices.details(client, clock.now())
            outbox.queue_notice(cur, notices.TWO_FACTOR_ON, user_id=setup.user_id, details=details)
