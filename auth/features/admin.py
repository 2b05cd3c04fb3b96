"""`flask --app app user ...`: what an operator does for a user."""

import logging

import click
from flask.cli import AppGroup

from auth import users
from auth.blueprint import bp
from auth.fields import UNSTORABLE
from auth.services import current_auth
from auth.throttling import counters, keys
from db import DatabaseUnavailable
from runtime import clock

log = logging.getLogger("auth")

user = AppGroup("user", help="Commands for one user, by username or email.")
bp.cli.add_command(user)


@user.command("unlock")
@click.argument("name")
def unlock(name: str) -> None:
    """End the lock of an account, and make all its limits available again."""
    database = current_auth().database
    try:
        # A shell may hand over bytes that are no text.
        is_storable = not UNSTORABLE.search(name)
        credential = database.read(users.find_by_login, name, now=clock.now()) if is_storable else None
        if credential is None:
            raise click.ClickException("No user has this username or email.")
        user_id = credential.user.id
        count = database.write(counters.forget, keys.account(user_id))
    except DatabaseUnavailable as exc:
        raise click.ClickException(str(exc)) from None
    log.info("account_unlocked user_id=%s", user_id)
    click.echo(f"User {user_id} ({credential.user.username}): every lock has ended. Limits reset: {count}")
