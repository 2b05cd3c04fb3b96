"""POST /register: a new user with a first session, and the mail that verifies the address."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from auth import constraint_errors, devices, new_passwords, responses, sign_in, users
from auth.blueprint import bp
from auth.bodies import json_body
from auth.client import Client
from auth.fields import BodyReader
from auth.guard import current_client
from auth.mail import outbox
from auth.mail.outbox import NewMail
from auth.services import current_auth
from auth.tokens.one_time import VERIFY_EMAIL
from auth.tokens.pair import TokenPair
from auth.users import User
from config import Settings
from db import Cursor, transaction
from runtime import clock


@dataclass(frozen=True)
class Registration:
    """A registration whose fields all keep their rules. Names are None if they are absent."""

    username: str
    email: str
    password: str = field(repr=False)
    first_name: str | None
    last_name: str | None

    @classmethod
    def from_body(cls, body: dict[str, Any], settings: Settings) -> "Registration":
        """Return the registration in `body`. Raises ApiError `validation_failed`."""
        reader = BodyReader(body)
        username, email = reader.username("username"), reader.email("email")
        password = reader.new_password("password", settings.password_min_length)
        weakness = password and new_passwords.weakness(
            password, username=username, email=email, settings=settings
        )
        if weakness:
            reader.add_error("password", weakness)
        registration = cls(
            username=username,
            email=email,
            password=password,
            first_name=reader.name("first_name", "firstName"),
            last_name=reader.name("last_name", "lastName"),
        )
        reader.raise_for_errors()
        return registration

    def columns(self) -> dict[str, str | None]:
        """Return the columns of users that the client fills, without the password."""
        names = ("username", "email", "first_name", "last_name")
        return {name: getattr(self, name) for name in names}


@bp.post("/register")
def register() -> tuple[dict[str, Any], int]:
    """Register a user, for anybody. Answers 201 with the user and the tokens of a first session.

    With REQUIRE_VERIFIED_EMAIL there is no session before the address is verified.
    """
    auth, client = current_auth(), current_client()
    form = Registration.from_body(json_body(), auth.settings)
    with auth.throttle.registration(client):
        password_hash = auth.passwords.hash(form.password)
    user, tokens = auth.database.write(
        create,
        form.columns(),
        password_hash=password_hash,
        client=client,
        settings=auth.settings,
        now=clock.now(),
    )
    auth.wake_sender()
    devices.remember(auth, user.id, client)
    return responses.registration(user, tokens), 201


def create(
    cur: Cursor,
    columns: dict[str, str | None],
    *,
    password_hash: str,
    client: Client,
    settings: Settings,
    now: datetime,
) -> tuple[User, TokenPair | None]:
    """Insert a user with a first session, and queue the mail that verifies the address.

    Returns no tokens if the settings ask for a verified address. Raises as `constraint_errors.store` does.
    """
    mail = settings.mail

    def insert(values: dict[str, str | None]) -> tuple[User, TokenPair | None]:
        with transaction(cur):
            user, tokens = users.create(cur, values, password_hash=password_hash), None
            if not (mail and mail.require_verified_email):
                tokens = sign_in.open_session(
                    cur, user, password_hash=password_hash, client=client, settings=settings, now=now
                )
                assert tokens is not None  # nobody else sees the user's row before the transaction ends
            if mail:
                outbox.queue(cur, NewMail(VERIFY_EMAIL, user.email, user.id))
            return user, tokens

    return constraint_errors.store(cur, columns, insert)
