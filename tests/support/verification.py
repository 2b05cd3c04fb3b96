"""The calls that verify an address, and what the database knows of addresses."""

from collections.abc import Sequence
from typing import Any

from flask import Flask

from tests.support import PASSWORD
from tests.support.actor import Actor, Client
from tests.support.database import Sql
from tests.support.mails import letters, token_of

VERIFY, RESEND = "/api/auth/email/verify", "/api/auth/email/resend"
OTHER = "ada@example.org"
LINK_INVALID = (400, "link_invalid", None)
EMAIL_TAKEN = (409, "email_taken", None)


def verify(client: Client, token: object) -> Any:
    return client.open(VERIFY, method="POST", json={"token": token}, headers={})


def resend(user: Actor, **call: Any) -> Any:
    return user.send("POST", RESEND, **call)


def new_token(app: Flask) -> str:
    """Send every mail, and return the token of the last link."""
    return token_of([letter for letter in letters(app) if letter.link][-1])


def change_email(user: Actor, email: str = OTHER, **fields: object) -> Any:
    return user.change_profile(email=email, current_password=PASSWORD, **fields)


def queued(sql: Sql) -> list[tuple[str, str]]:
    """Return the kind and the recipient of every mail that waits."""
    return sql("SELECT kind, recipient FROM auth_outbox ORDER BY id")


def addresses(sql: Sql, username: str = "ada") -> tuple[Any, ...] | None:
    """Return the email of a user, the verified address and the pending one."""
    rows: Sequence[tuple[Any, ...]] = sql(
        "SELECT email, verified, pending FROM users LEFT JOIN auth_emails ON user_id = id"
        " WHERE username = %s",
        username,
    )
    return rows[0] if rows else None
