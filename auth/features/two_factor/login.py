"""POST /login/2fa: a ticket and a code to a session."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from auth import devices, responses, sign_in, users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.client import Client
from auth.errors import ApiError
from auth.fields import BodyReader
from auth.guard import current_client, require_feature
from auth.services import Auth, current_auth
from auth.tokens import tickets
from auth.tokens.pair import TokenPair
from auth.two_factor import factors
from auth.two_factor.factors import Factor
from auth.two_factor.verification import ProvedCode, TypedCode
from auth.users import Credential
from db import Cursor, transaction
from runtime import clock


@dataclass(frozen=True)
class SecondStep:
    """The ticket of the first step, and a code."""

    ticket: str = field(repr=False)
    typed: TypedCode

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> "SecondStep":
        """Return what `body` has. Raises ApiError `validation_failed`."""
        reader = BodyReader(body)
        ticket, typed = reader.required_text("ticket"), TypedCode.required_from_reader(reader)
        reader.raise_for_errors()
        return cls(ticket, typed)


@bp.post("/login/2fa")
def log_in_with_second_factor() -> dict[str, Any]:
    """Finish a login, for the holder of its ticket. Answers 200 with the user and tokens.

    The ticket is used up by a right code alone.
    """
    auth, client, now = current_auth(), current_client(), clock.now()
    second_factor = require_feature(auth.second_factor)
    form = SecondStep.from_body(json_body())
    pair = auth.database.read(_find, form.ticket, now=now)
    if pair is None:
        auth.throttle.unknown_token(client)
        raise ApiError("ticket_invalid")
    credential, factor = pair
    code = second_factor.prove(factor, form.typed, client, status=401)
    tokens = auth.database.write(_enter, auth, form.ticket, credential, code, client=client, now=now)
    if code.recovery_code or sign_in.is_on_new_device(auth, credential, client, now=now):
        auth.wake_sender()
    devices.remember(auth, credential.user.id, client)
    return responses.login(credential.user, tokens)


def _find(cur: Cursor, ticket: str, *, now: datetime) -> tuple[Credential, Factor] | None:
    """Return the user of a ticket and the second factor. Returns None if the ticket is not valid."""
    bearer = tickets.find(cur, ticket, now=now)
    credential = users.find_credential_by_id(cur, bearer.user_id, now=now) if bearer else None
    if not bearer or not credential or not bearer.is_bound_to(credential.password_hash):
        return None
    factor = factors.find(cur, bearer.user_id)
    return (credential, factor) if factor else None


def _enter(
    cur: Cursor,
    auth: Auth,
    ticket: str,
    credential: Credential,
    code: ProvedCode,
    *,
    client: Client,
    now: datetime,
) -> TokenPair:
    """Open a session, and use the ticket and the code up.

    Raises ApiError `ticket_invalid` or `code_invalid` if another request was faster, or if the password was
    changed meanwhile. Nothing is stored then.
    """
    with transaction(cur):
        tokens = sign_in.enter(cur, auth, credential, client, now=now)
        if tokens is None or not tickets.consume(cur, ticket, now=now):
            raise ApiError("ticket_invalid")
        code.use_up(cur)
        return tokens
