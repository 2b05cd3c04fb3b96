"""Changing and deleting one's own account."""

from typing import Any

from flask import g
from psycopg2.extensions import cursor

from auth import bp, responses, services, sessions, token_pairs, users, validation
from auth.callers import Caller
from auth.errors import ApiError
from auth.guards import caller_gone, json_body, login_required, new_session, still_there
from auth.sessions import LiveSession, NewSession
from db import transaction


@bp.patch("/me")
@login_required
def change_profile() -> dict[str, Any]:
    form = validation.profile(json_body())
    if not form.changes:
        return responses.user(still_there(services().database.read(users.find_caller, g.caller)))
    verified = _verify_identity_change(form)
    updated = services().database.write(users.update, g.caller, form.changes, password_hash=verified)
    return responses.user(still_there(updated))


@bp.put("/me/password")
@login_required
def change_password() -> dict[str, Any]:
    settings = services().settings
    form = validation.password_change(json_body(), password_min_length=settings.password_min_length)
    found = _credential()
    _require_password(form.current_password, found)
    new_hash = services().passwords.hash(form.new_password)
    refresh, session = new_session()
    live = services().database.write(_store_password, g.caller, found, new_hash=new_hash, session=session)
    pair = token_pairs.issue(refresh, live, settings=settings, now=session.now)
    return responses.token_pair(pair)


@bp.delete("/me")
@login_required
def delete_account() -> tuple[str, int]:
    password = validation.password(json_body())
    found = _credential()
    _require_password(password, found)
    if not services().database.write(users.delete, g.caller, password_hash=found.password_hash):
        raise caller_gone()
    return "", 204


def _credential() -> users.Credential:
    return still_there(services().database.read(users.find_credential, g.caller))


def _verify_identity_change(form: validation.ProfileChange) -> str | None:
    """Return the hash that the current password was verified against, None when none is needed."""
    if not {"username", "email"} & form.changes.keys():
        return None
    found = _credential()
    if not form.changes_identity(found.user.username, found.user.email):
        return None
    _require_password(form.proof(), found)
    return found.password_hash


def _require_password(password: str, found: users.Credential) -> None:
    """Raise ApiError `wrong_password`; 403 and not 401, for which a frontend would refresh its token."""
    if not services().passwords.verify(password, found.password_hash):
        raise ApiError("wrong_password", log_message=f"wrong_password user_id={found.user.id}")


def _store_password(
    cur: cursor, caller: Caller, found: users.Credential, *, new_hash: str, session: NewSession
) -> LiveSession:
    """Store the hash and end every session but the caller's, which gets a new refresh token.

    Raises ApiError `wrong_password` when the password has changed meanwhile, `token_invalid` when the
    caller's session is over; then nothing is stored.
    """
    user = found.user
    with transaction(cur):
        # First the row that logins lock, so that none slips in between.
        if not users.replace_hash(cur, user.id, old=found.password_hash, new=new_hash):
            raise ApiError("wrong_password", log_message=f"password_changed user_id={user.id}")
        if not sessions.end_others(cur, caller):
            raise caller_gone()
        if caller.session_id is None:
            session_id = still_there(sessions.open_for(cur, user.id, password_hash=new_hash, new=session))
            return LiveSession(session_id, user.id, user.email, session.expires_at)
        expires_at = still_there(sessions.renew(cur, caller.session_id, session))
        return LiveSession(caller.session_id, user.id, user.email, expires_at)
