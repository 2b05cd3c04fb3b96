"""Second factors: an authenticator app, the calls under /2fa, and the two steps of a login."""

import base64
import time
from dataclasses import dataclass, field
from typing import Any

from auth.two_factor import totp
from tests.support.actor import LOGIN, Actor, Client
from tests.support.database import Sql

SETUP, ENABLE, DISABLE = "/api/auth/2fa/setup", "/api/auth/2fa/enable", "/api/auth/2fa/disable"
RENEW, SECOND_STEP = "/api/auth/2fa/recovery-codes", "/api/auth/login/2fa"
WRONG_CODE = "000000"  # one in 300,000 times it is right


@dataclass
class App:
    """An authenticator app. It never shows one code twice, unless it is asked for a step."""

    secret: bytes
    recovery_codes: list[str] = field(default_factory=list)

    @classmethod
    def scanning(cls, setup: dict[str, Any]) -> "App":
        """Return an app that has read the answer to a setup."""
        return cls(base64.b32decode(setup["secret"]))

    def code(self, *, steps: int = 0) -> str:
        """Return the code of this moment, or of so many steps later."""
        return totp.code(self.secret, int(time.time()) // totp.STEP_SECONDS + steps)


def set_up(user: Actor, **fields: object) -> Any:
    return user.send("POST", SETUP, {"password": user.password} | fields)


def enable(user: Actor, code: object) -> Any:
    return user.send("POST", ENABLE, {"code": code})


def disable(user: Actor, **fields: object) -> Any:
    return user.send("POST", DISABLE, {"password": user.password} | fields)


def renew(user: Actor, **fields: object) -> Any:
    return user.send("POST", RENEW, {"password": user.password} | fields)


def enrol(user: Actor, sql: Sql | None = None) -> App:
    """Put a second factor in force for a user. sql: makes the code that enabled it forgotten."""
    setup = set_up(user)
    assert setup.status_code == 200, setup.text
    app = App.scanning(setup.get_json())
    enabled = enable(user, app.code())
    assert enabled.status_code == 200, enabled.text
    app.recovery_codes = enabled.get_json()["recovery_codes"]
    if sql:
        forget_steps(sql)
    return app


def forget_steps(sql: Sql) -> None:
    """Make every code of an app usable again, as if time had passed."""
    sql("UPDATE auth_second_factors SET last_step = -1")


def first_step(user: Actor, client: Client | None = None) -> Any:
    """Log in with the password, and return the answer."""
    body = {"username": user.username, "password": user.password}
    return (client or user.client).open(LOGIN, method="POST", json=body, headers={})


def ticket_of(user: Actor, client: Client | None = None) -> str:
    """Log in with the password, and return the ticket."""
    answer = first_step(user, client)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "second_factor_required"), answer.text
    return str(answer.get_json()["ticket"])


def second_step(client: Client, ticket: object, **fields: object) -> Any:
    """Send a ticket with `code` or `recovery_code`, and return the answer."""
    return client.open(SECOND_STEP, method="POST", json={"ticket": ticket} | fields, headers={})


def log_in(user: Actor, code: str, client: Client | None = None) -> Any:
    """Log in with the password and a code of the app, and return the answer to the second step."""
    client = client or user.client
    return second_step(client, ticket_of(user, client), code=code)


def stored_factors(sql: Sql) -> list[tuple[Any, ...]]:
    """Return every second factor, past the service."""
    return sql("SELECT auth_second_factors::text FROM auth_second_factors ORDER BY user_id")


def used_recovery_codes(sql: Sql) -> int:
    """Return how many recovery codes of all users are used up."""
    [(count,)] = sql(
        "SELECT count(*) FROM auth_second_factors CROSS JOIN unnest(recovery_hashes) AS hash"
        " WHERE hash IS NULL"
    )
    return int(count)


def has_used_step(sql: Sql) -> bool:
    """Return whether a code of an app was used since `forget_steps`."""
    return sql("SELECT user_id FROM auth_second_factors WHERE last_step >= 0") != []
