"""`flask --app app user ...`: what an operator does for a user."""

import logging
from collections.abc import Callable

import click
from flask.cli import AppGroup

from auth import users
from auth.blueprint import bp
from auth.fields import UNSTORABLE
from auth.mail import notices, outbox
from auth.services import Auth, current_auth
from auth.throttling import counters, keys
from auth.tokens import tickets
from auth.two_factor import factors
from auth.users import User
from db import Cursor, DatabaseUnavailable, transaction
from runtime import clock

log = logging.getLogger("auth")

user = AppGroup("user", help="Commands for one user, by username or email.")
bp.cli.add_command(user)


@user.command("unlock")
@click.argument("name")
def unlock(name: str) -> None:
    """End the lock of an account, and make all its limits available again."""
    found, count = _for_user(name, _unlock)
    log.info("account_unlocked user_id=%s", found.id)
    click.echo(f"User {found.id} ({found.username}): every lock has ended. Limits reset: {count}")


@user.command("reset-2fa")
@click.argument("name")
def reset_second_factor(name: str) -> None:
    """Remove the second factor and the recovery codes of a user, who then logs in with the password alone.

    Make sure that it is the user who asks.
    """
    found, was_on = _for_user(name, _reset_second_factor)
    if not was_on:
        click.echo(f"User {found.id} ({found.username}) has no second factor.")
        return
    log.info("second_factor_reset user_id=%s", found.id)
    click.echo(f"User {found.id} ({found.username}): the second factor is removed.")


def _for_user(name: str, act: Callable[[Cursor, Auth, User], int]) -> tuple[User, int]:
    """Return the user whom a name means, and what `act` returns, which runs in a transaction."""
    auth = current_auth()
    try:
        # A shell may hand over bytes that are no text.
        is_storable = not UNSTORABLE.search(name)
        credential = auth.database.read(users.find_by_login, name, now=clock.now()) if is_storable else None
        if credential is None:
            raise click.ClickException("No user has this username or email.")
        return credential.user, auth.database.write(_in_transaction, act, auth, credential.user)
    except DatabaseUnavailable as exc:
        raise click.ClickException(str(exc)) from None


def _in_transaction(cur: Cursor, act: Callable[[Cursor, Auth, User], int], auth: Auth, found: User) -> int:
    with transaction(cur):
        return act(cur, auth, found)


def _unlock(cur: Cursor, _auth: Auth, found: User) -> int:
    """Return the number of limits that are available again."""
    return sum(
        counters.forget(cur, prefix) for prefix in (keys.account(found.id), keys.second_factor(found.id))
    )


def _reset_second_factor(cur: Cursor, auth: Auth, found: User) -> bool:
    """Return whether a second factor was in force."""
    users.lock(cur, found.id)
    was_on = factors.remove(cur, found.id)
    tickets.void(cur, found.id)
    if was_on and auth.settings.mail:
        details = {"time": notices.time(clock.now())}
        outbox.queue_notice(cur, notices.TWO_FACTOR_OFF, user_id=found.id, details=details)
    counters.forget(cur, keys.second_factor(found.id))
    return was_on
