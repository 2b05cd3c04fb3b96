"""Registration, login and the current user."""

import logging
from functools import partial
from typing import Any

from flask import g

from auth import accounts, bp, responses, services, sessions, users, validation
from auth.errors import ApiError
from auth.features.sessions import purge_now_and_then
from auth.guard import json_body, login_required, new_session, require_found
from auth.sessions import SessionGrant
from auth.sign_in import store_proven
from auth.tokens import pair as token_pairs
from auth.tokens.pair import TokenPair
from runtime.faults import DatabaseUnavailable

log = logging.getLogger("auth")


@bp.post("/register")
def register() -> tuple[dict[str, Any], int]:
    settings = services().settings
    form = validation.registration(json_body(), password_min_length=settings.password_min_length)
    password_hash = services().passwords.hash(form.password)
    refresh, session = new_session()
    user, session_id = services().database.write(
        accounts.create,
        username=form.username,
        email=form.email,
        password_hash=password_hash,
        first_name=form.first_name,
        last_name=form.last_name,
        session=session,
    )
    live = SessionGrant(session_id, user.id, user.email, session.valid_until)
    pair = token_pairs.issue(refresh, live, settings=settings, now=session.now)
    purge_now_and_then()
    return responses.registration(user, pair), 201


@bp.post("/login")
def login() -> dict[str, Any]:
    form = validation.login(json_body())
    authenticate = partial(_authenticate, form)
    found, pair = store_proven(
        authenticate(), _open_session, prove_again=authenticate, refusal="invalid_credentials"
    )
    _strengthen_hash(found, form.password)
    purge_now_and_then()
    return responses.login(found.user, pair)


@bp.get("/me")
@login_required
def me() -> dict[str, Any]:
    return responses.user(require_found(services().database.read(users.find_principal, g.principal)))


def _authenticate(form: validation.Login) -> users.Credential:
    found = services().database.read(users.find_by_login, form.login)
    stored = found.password_hash if found else None
    if not services().passwords.verify(form.password, stored) or not found:
        raise ApiError("invalid_credentials", log_message=f"login_failed user_id={found and found.user.id}")
    return found


def _open_session(found: users.Credential) -> TokenPair | None:
    """Return tokens for a new session, None when the password hash is not the user's any more."""
    refresh, session = new_session()
    session_id = services().database.write(
        sessions.open_for, found.user.id, password_hash=found.password_hash, new=session
    )
    if session_id is None:
        return None
    live = SessionGrant(session_id, found.user.id, found.user.email, session.valid_until)
    return token_pairs.issue(refresh, live, settings=services().settings, now=session.now)


def _strengthen_hash(found: users.Credential, password: str) -> None:
    """Replace a hash that is weaker or of an older form; the login has succeeded, whatever comes of this."""
    new = services().passwords.rehash(password, found.password_hash)
    if new is None:
        return
    try:
        services().database.write(users.replace_hash, found.user.id, old=found.password_hash, new=new)
    except DatabaseUnavailable as exc:
        log.warning("hash_not_strengthened user_id=%s: %s", found.user.id, exc)
