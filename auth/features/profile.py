"""Changing and deleting one's own account."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from flask import g
from psycopg2.extensions import cursor

from auth import bp, responses, services, sessions, users, validation
from auth.errors import ApiError
from auth.guard import json_body, login_required, new_session, principal_gone, require_found
from auth.principal import Principal
from auth.sessions import NewSession, SessionGrant
from auth.sign_in import store_proven
from auth.tokens import pair as token_pairs
from db import transaction

T = TypeVar("T")


@bp.patch("/me")
@login_required
def change_profile() -> dict[str, Any]:
    body = json_body()
    found = _credential()
    form = validation.profile(body, vars(found.user))
    if not form.changes:
        return responses.user(found.user)

    def change(password_hash: str | None) -> users.User | None:
        return services().database.write(users.update, g.principal, form.changes, password_hash=password_hash)

    if not form.needs_proof():
        return responses.user(require_found(change(None)))
    _require_password(form.proof(), found)
    updated = _store(found, form.proof(), lambda proven: change(proven.password_hash))
    return responses.user(updated)


@bp.put("/me/password")
@login_required
def change_password() -> dict[str, Any]:
    settings = services().settings
    form = validation.password_change(json_body(), password_min_length=settings.password_min_length)
    found = _proven_credential(form.current_password)
    new_hash = services().passwords.hash(form.new_password)
    refresh, session = new_session()
    store = partial(_store_password, caller=g.principal, new_hash=new_hash, session=session)
    live = _store(found, form.current_password, lambda proven: services().database.write(store, proven))
    pair = token_pairs.issue(refresh, live, settings=settings, now=session.now)
    return responses.token_pair(pair)


@bp.delete("/me")
@login_required
def delete_account() -> tuple[str, int]:
    password = validation.password(json_body())

    def delete(proven: users.Credential) -> bool | None:
        return (
            services().database.write(users.delete, g.principal, password_hash=proven.password_hash) or None
        )

    _store(_proven_credential(password), password, delete)
    return "", 204


def _credential() -> users.Credential:
    return require_found(services().database.read(users.find_credential, g.principal))


def _proven_credential(password: str) -> users.Credential:
    """Return the caller's credential, once the password has proven to be theirs."""
    found = _credential()
    _require_password(password, found)
    return found


def _store(found: users.Credential, password: str, store: Callable[[users.Credential], T | None]) -> T:
    """Return what `store` returned for the credential, or for that of now if its hash has been replaced."""
    prove_again = partial(_proven_credential, password)
    _, stored = store_proven(found, store, prove_again=prove_again, refusal="wrong_password")
    return stored


def _require_password(password: str, found: users.Credential) -> None:
    """Raise ApiError `wrong_password`; 403 and not 401, for which a frontend would refresh its token."""
    if not services().passwords.verify(password, found.password_hash):
        raise ApiError("wrong_password", log_message=f"wrong_password user_id={found.user.id}")


def _store_password(
    cur: cursor, found: users.Credential, *, caller: Principal, new_hash: str, session: NewSession
) -> SessionGrant | None:
    """Store the hash and end every session but the caller's, which gets a new refresh token.

    None when the hash has been replaced since it was verified. Raises ApiError `token_invalid` when the
    caller's session is over. Then nothing is stored.
    """
    user = found.user
    with transaction(cur):
        # First the row that logins lock, so that none slips in between.
        if not users.replace_hash(cur, user.id, old=found.password_hash, new=new_hash):
            return None
        if not sessions.revoke_others(cur, caller):
            raise principal_gone()
        if caller.session_id is None:
            session_id = require_found(sessions.open_for(cur, user.id, password_hash=new_hash, new=session))
            return SessionGrant(session_id, user.id, user.email, session.valid_until)
        valid_until = require_found(sessions.renew(cur, caller.session_id, session))
        return SessionGrant(caller.session_id, user.id, user.email, valid_until)
