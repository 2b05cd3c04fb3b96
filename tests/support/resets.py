"""Forgotten passwords: asking for a link, the token of the link, and its use."""

from typing import Any

from flask.testing import FlaskClient

from auth.tokens import one_time
from auth.tokens.one_time import Owner
from db import Database
from runtime import clock
from tests.support.actor import NEW_PASSWORD
from tests.support.mails import letters, token_of

FORGOT, RESET = "/api/auth/password/forgot", "/api/auth/password/reset"
ADAS = "ada@example.com"
LINK_INVALID = (400, "link_invalid", None)


def forget(client: FlaskClient, email: object = ADAS) -> Any:
    return client.post(FORGOT, json={"email": email})


def reset(client: FlaskClient, token: object, new_password: object = NEW_PASSWORD) -> Any:
    return client.post(RESET, json={"token": token, "new_password": new_password})


def new_token(client: FlaskClient, email: str = ADAS) -> str:
    """Ask for a link, have it mailed, and return its token."""
    assert forget(client, email).status_code == 202
    [letter] = [each for each in letters(client.application) if each.kind == one_time.RESET_PASSWORD]
    return token_of(letter)


def stored_token(client: FlaskClient, owner: Owner, *, purpose: str = one_time.RESET_PASSWORD) -> str:
    """Return a token that was stored without a mail."""
    token = one_time.new()
    database: Database = client.application.extensions["auth"].database
    expires_at = clock.now().replace(year=2100)
    database.write(one_time.replace, token, owner, purpose=purpose, expires_at=expires_at)
    return token
