"""The one door behind every proof of identity: a user who proved an identity gets tokens here.

A second factor that is due stands before it: the user gets a ticket, and the tokens for ticket and code.

A proof holds as long as the verified password hash is the user's. `act_on_proof` makes the proof once more if
the hash was replaced in between, for example by a login that strengthens it.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from auth import responses, sessions
from auth.client import Client
from auth.errors import ApiError
from auth.mail import notices, outbox
from auth.services import Auth
from auth.sessions import NewSession, SessionGrant
from auth.throttling import attempts
from auth.tokens import pair, refresh, tickets
from auth.tokens.pair import TokenPair
from auth.tokens.refresh import RefreshToken
from auth.users import Credential, User
from config import Settings
from db import Cursor, transaction
from runtime import clock

MAX_SESSIONS = 100  # of one user
# In one sign-in: a script may have opened a million sessions before there was a limit, and the statement that
# revokes them must not reach the deadline.
MAX_REVOKED = 1000
MAX_USER_AGENT_CHARACTERS = 200


class OfUser(Protocol):
    """A proof of the identity of a user."""

    @property
    def user(self) -> User: ...


P = TypeVar("P", bound=OfUser)
T = TypeVar("T")


def admit(auth: Auth, credential: Credential, client: Client) -> TokenPair | None:
    """Open a session for a user who proved an identity, and return its tokens.

    Every way in ends here; only a second factor goes on to `enter`. credential: as it was when the identity
    was proved. Returns None as `open_session` does. Raises ApiError `second_factor_required` with a ticket if
    a second factor is due, and what `require_verified` raises.
    """
    user, now = credential.user, clock.now()
    require_verified(user, auth.settings)
    if auth.second_factor and user.two_factor:
        ticket = auth.database.write(tickets.issue, user.id, password_hash=credential.password_hash, now=now)
        if ticket is None:
            return None
        cause = f"second_factor_required user_id={user.id}"
        raise ApiError(
            "second_factor_required",
            details=responses.ticket(ticket),
            log_message=cause,
            log_level=logging.INFO,  # the usual course of a login
        )

    def open_first(cur: Cursor) -> TokenPair | None:
        with transaction(cur):
            return enter(cur, auth, credential, client, now=now)

    tokens = auth.database.write(open_first)
    if tokens and is_on_new_device(auth, credential, client, now=now):
        auth.wake_sender()
    return tokens


def is_on_new_device(auth: Auth, credential: Credential, client: Client, *, now: datetime) -> bool:
    """Return whether the user gets a notice of this sign-in. now: aware. Returns False if mail is off."""
    return auth.settings.mail is not None and not attempts.is_known(
        credential, client, settings=auth.settings, now=now.timestamp()
    )


def enter(
    cur: Cursor, auth: Auth, credential: Credential, client: Client, *, now: datetime
) -> TokenPair | None:
    """Open a session for a user who proved every factor, and queue the notice of a new device.

    Parameters and result: see `open_session`. Race: a login takes a quarter of a second. A second factor that
    is enabled meanwhile is due, too.
    """
    user = credential.user
    tokens = open_session(
        cur,
        user,
        password_hash=credential.password_hash,
        client=client,
        settings=auth.settings,
        now=now,
        two_factor=user.two_factor,
    )
    if tokens and is_on_new_device(auth, credential, client, now=now):
        details = notices.details(client, now)
        outbox.queue_notice(cur, notices.NEW_DEVICE, user_id=user.id, details=details)
    return tokens


def open_session(
    cur: Cursor,
    user: User,
    *,
    password_hash: str,
    client: Client,
    settings: Settings,
    now: datetime,
    two_factor: bool | None = None,
) -> TokenPair | None:
    """Open a session, and return its tokens. Call it in a transaction.

    For users who are in already: a registration, and a change of the password, which opens a session in the
    place of those that it ends. Others come in through `admit`.

    password_hash, two_factor: see sessions.create, which decides whether the result is None. now: aware. The
    user keeps the newest MAX_SESSIONS live sessions.
    """
    refresh_token = refresh.new()
    session = new_session(refresh_token, client=client, settings=settings, now=now)
    session_id = sessions.create(cur, user.id, session, password_hash=password_hash, two_factor=two_factor)
    if session_id is None:
        return None
    sessions.revoke_surplus(cur, user.id, keep=MAX_SESSIONS, at_most=MAX_REVOKED, now=now)
    grant = SessionGrant(session_id, user.id, user.email, session.idle_expires_at)
    return pair.issue(refresh_token, grant, settings=settings, now=now)


def require_verified(user: User, settings: Settings) -> None:
    """Refuse a user who has proved an identity, but not the email, if the settings ask for both.

    Call it after the proof: before, the refusal would tell everybody which accounts exist (user enumeration).
    Raises ApiError `email_not_verified`.
    """
    if settings.mail and settings.mail.require_verified_email and not user.email_verified:
        raise ApiError("email_not_verified", log_message=f"email_not_verified user_id={user.id}")


def act_on_proof(prove: Callable[[], P], act: Callable[[P], T | None], *, refusal: str) -> tuple[P, T]:
    """Prove an identity, act on the proof, and return the proof with the result.

    act: returns None if the password hash was replaced after it was verified (TOCTOU). Then the proof is made
    a second time, with the hash of now. Raises ApiError `refusal` if that hash was replaced as well.
    """
    for _ in range(2):
        proof = prove()
        result = act(proof)
        if result is not None:
            return proof, result
    raise ApiError(refusal, log_message=f"password_changed user_id={proof.user.id}")


def new_session(
    refresh_token: RefreshToken, *, client: Client, settings: Settings, now: datetime
) -> NewSession:
    """Return the session that `refresh_token` opens. now: aware."""
    expires_at = now + timedelta(seconds=settings.session_max_seconds)
    return NewSession(
        selector_hash=refresh_token.selector_hash(),
        token_hash=refresh_token.hash(),
        now=now,
        idle_expires_at=min(pair.idle_expiry(settings, now), expires_at),
        expires_at=expires_at,
        ip=client.ip,
        # The encoding of the database may lack characters beyond ASCII.
        user_agent=client.user_agent.encode("ascii", "replace").decode("ascii")[:MAX_USER_AGENT_CHARACTERS],
    )
