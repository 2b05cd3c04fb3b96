"""Registration, login and the current user."""

import logging
import secrets
import time
from typing import Any

from flask import g

from auth import bp, responses, services, tokens, users, validation
from auth.errors import ApiError
from auth.guards import json_body, login_required
from db import DatabaseUnavailable

log = logging.getLogger("auth")


@bp.post("/register")
def register() -> tuple[dict[str, Any], int]:
    settings = services().settings
    form = validation.registration(json_body(), password_min_length=settings.password_min_length)
    user = services().database.write(
        users.create,
        username=form.username,
        email=form.email,
        password_hash=services().passwords.hash(form.password),
        first_name=form.first_name,
        last_name=form.last_name,
    )
    return responses.registration(user, token=_token(user), expires_in=settings.jwt_expires_seconds), 201


@bp.post("/login")
def login() -> dict[str, Any]:
    form = validation.login(json_body())
    found = services().database.read(users.find_by_login, form.login)
    stored = found.password_hash if found else None
    if not services().passwords.verify(form.password, stored) or not found:
        raise ApiError("invalid_credentials", log_message=f"login_failed user_id={found and found.user.id}")
    _strengthen_hash(found, form.password)
    expires_in = services().settings.jwt_expires_seconds
    return responses.login(found.user, token=_token(found.user), expires_in=expires_in)


@bp.get("/me")
@login_required
def me() -> dict[str, Any]:
    user = services().database.read(users.find_by_id, g.claims.user_id)
    if user is None:
        raise ApiError("token_invalid", log_message=f"token_of_deleted_user user_id={g.claims.user_id}")
    return responses.user(user)


def _strengthen_hash(found: users.Credential, password: str) -> None:
    """Replace a hash of fewer rounds than configured; the login has succeeded, whatever comes of this."""
    new = services().passwords.rehash(password, found.password_hash)
    if new is None:
        return
    try:
        services().database.write(users.replace_hash, found.user.id, old=found.password_hash, new=new)
    except DatabaseUnavailable as exc:
        log.warning("hash_not_strengthened user_id=%s: %s", found.user.id, exc)


def _token(user: users.User) -> str:
    settings = services().settings
    return tokens.issue(
        user.id,
        user.email,
        key=settings.secret_key,
        now=time.time(),
        ttl_seconds=settings.jwt_expires_seconds,
        token_id=secrets.token_hex(16),
    )
