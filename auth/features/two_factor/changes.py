"""POST /2fa/disable and /2fa/recovery-codes: changes of a second factor that is in force."""

from collections.abc import Sequence
from typing import Any

from flask import g

from auth import users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.client import Client
from auth.errors import ApiError
from auth.guard import current_client, feature_required, login_required, require_feature
from auth.mail import notices, outbox
from auth.principal import Principal
from auth.reauthentication import Confirmation, Proof, reauthenticate
from auth.services import current_auth
from auth.tokens import tickets
from auth.two_factor import factors
from auth.two_factor.verification import TypedCode
from config import Settings
from db import Cursor, transaction
from runtime import clock


@bp.post("/2fa/disable")
@feature_required(lambda settings: settings.two_factor)
@login_required
def disable_second_factor() -> tuple[str, int]:
    """Remove the second factor, for the user, who confirms it with the password and a code. Answers 204."""
    auth, client = current_auth(), current_client()
    form = Confirmation.from_body(json_body(), TypedCode.required_from_reader)

    def disable(proof: Proof) -> bool | None:
        _require_on(proof)
        return (
            auth.database.write(_disable, g.principal, proof, client=client, settings=auth.settings) or None
        )

    reauthenticate(
        auth, g.principal, form.password, disable, client=client, typed=form.typed, code_status=400
    )
    auth.wake_sender()
    return "", 204


def _disable(cur: Cursor, principal: Principal, proof: Proof, *, client: Client, settings: Settings) -> bool:
    """Remove the second factor. Returns False as `users.lock_own` does."""
    user_id = proof.user.id
    with transaction(cur):
        if not users.lock_own(cur, principal, password_hash=proof.password_hash):
            return False
        proof.use_up(cur)
        factors.remove(cur, user_id)
        tickets.void(cur, user_id)
        if settings.mail:
            details = notices.details(client, clock.now())
            outbox.queue_notice(cur, notices.TWO_FACTOR_OFF, user_id=user_id, details=details)
        return True


@bp.post("/2fa/recovery-codes")
@feature_required(lambda settings: settings.two_factor)
@login_required
def renew_recovery_codes() -> dict[str, Any]:
    """Replace the recovery codes, for the user, who confirms it with the password and a code of the app.

    Answers the new ones. The old ones are void.
    """
    auth, client = current_auth(), current_client()
    second_factor = require_feature(auth.second_factor)
    form = Confirmation.from_body(json_body(), TypedCode.required_of_the_app)

    def renew(proof: Proof) -> list[str] | None:
        _require_on(proof)
        shown, recovery_hashes = second_factor.new_recovery_codes(user_id=proof.user.id)
        return shown if auth.database.write(_renew, g.principal, proof, recovery_hashes) else None

    shown = reauthenticate(
        auth, g.principal, form.password, renew, client=client, typed=form.typed, code_status=400
    )
    return {"recovery_codes": shown}


def _renew(cur: Cursor, principal: Principal, proof: Proof, recovery_hashes: Sequence[bytes]) -> bool:
    """Store the hashes of new recovery codes. Returns False as `users.lock_own` does."""
    user_id = proof.user.id
    with transaction(cur):
        if not users.lock_own(cur, principal, password_hash=proof.password_hash):
            return False
        proof.use_up(cur)
        factors.replace_recovery_hashes(cur, user_id, recovery_hashes)
        return True


def _require_on(proof: Proof) -> None:
    if proof.code is None:
        raise ApiError("two_factor_off")
