"""The one door behind every proof of identity: a user who proved an identity gets a session and tokens here.

A proof holds as long as the verified password hash is the user's. `act_on_proof` makes the proof once more if
the hash was replaced in between, for example by a login that strengthens it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from auth import sessions, users
from auth.client import Client
from auth.errors import ApiError
from auth.principal import Principal
from auth.services import Auth
from auth.sessions import NewSession, SessionGrant
from auth.tokens import pair, refresh
from auth.tokens.pair import TokenPair
from auth.tokens.refresh import RefreshToken
from auth.users import Credential, User
from config import Settings
from db import Cursor

MAX_SESSIONS = 100  # of one user
# In one sign-in: a script may have opened a million sessions before there was a limit, and the statement that
# revokes them must not reach the deadline.
MAX_REVOKED = 1000
MAX_USER_AGENT_CHARACTERS = 200

T = TypeVar("T")


def open_session(
    cur: Cursor, user: User, *, password_hash: str | None, client: Client, settings: Settings, now: datetime
) -> TokenPair | None:
    """Open a session for a user who proved an identity, and return its tokens. Call it in a transaction.

    Whoever comes in passes `require_verified` first. A user who is in already goes on without: a change of
    the password opens a session in the place of those that it ends.

    password_hash: the hash that was the proof, or None for another proof. now: aware. Returns None if the
    user is gone or the hash was replaced. The user keeps the newest MAX_SESSIONS live sessions.
    """
    refresh_token = refresh.new()
    session = new_session(refresh_token, client=client, settings=settings, now=now)
    session_id = sessions.create(cur, user.id, session, password_hash=password_hash)
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


def reauthenticate(
    auth: Auth, principal: Principal, password: str, act: Callable[[Credential], T | None], *, client: Client
) -> T:
    """Return the result of `act`, once `password` is proved to be that of the principal's user.

    act: as for `act_on_proof`. Raises ApiError `token_invalid` if the principal's session has ended,
    `wrong_password`: 403, because a frontend that refreshes its token on every 401 would do so for ever, and
    what Throttle.reauthentication raises.
    """

    def prove_password() -> Credential:
        credential = auth.database.read(users.find_credential, principal)
        if credential is None:
            raise principal.session_ended()
        with auth.throttle.reauthentication(principal, client):
            if not auth.passwords.verify(password, credential.password_hash):
                raise ApiError("wrong_password", log_message=f"wrong_password user_id={credential.user.id}")
        return credential

    _, result = act_on_proof(prove_password, act, refusal="wrong_password")
    return result


def act_on_proof(
    prove: Callable[[], Credential], act: Callable[[Credential], T | None], *, refusal: str
) -> tuple[Credential, T]:
    """Prove an identity, act on the proof, and return the proved credential with the result.

    act: returns None if the password hash was replaced after it was verified (TOCTOU). Then the proof is made
    a second time, with the hash of now. Raises ApiError `refusal` if that hash was replaced as well.
    """
    for _ in range(2):
        credential = prove()
        result = act(credential)
        if result is not None:
            return credential, result
    raise ApiError(refusal, log_message=f"password_changed user_id={credential.user.id}")


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
