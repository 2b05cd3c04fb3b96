"""Clients at addresses of their own, their guesses, and the rows of budgets, past the service."""

from collections.abc import Sequence
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from tests.support.actor import LOGIN, WRONG_PASSWORD
from tests.support.database import Sql

ELAPSE = "UPDATE auth_throttle SET full_at = full_at - make_interval(secs => %s)"
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


def client_at(app: Flask, address: str = ELSEWHERE, *, use_cookies: bool = True) -> FlaskClient:
    """Return a new browser at an address; without cookies it forgets that it is a known device."""
    client = app.test_client(use_cookies=use_cookies)
    client.environ_base["REMOTE_ADDR"] = address
    return client


def guess(
    client: FlaskClient, count: int = 1, /, *, password: str = WRONG_PASSWORD, **login: str
) -> list[Any]:
    """Log in `count` times with a password, by default a wrong one, as ada unless `login` says other."""
    body = (login or {"username": "ada"}) | {"password": password}
    return [client.post(LOGIN, json=body) for _ in range(count)]


def codes(answers: Sequence[Any]) -> list[str]:
    """Return the error code of each answer, "" of a success."""
    return [(answer.get_json(silent=True) or {}).get("code", "") for answer in answers]


def elapse(sql: Sql, seconds: float) -> None:
    """Let time pass for every budget."""
    sql(ELAPSE, seconds)


def guess_patiently(client: FlaskClient, sql: Sql, count: int, **login: str) -> list[Any]:
    """Guess `count` times, and let the budgets refill before each."""
    answers = []
    for _ in range(count):
        elapse(sql, 600)
        answers += guess(client, **login)
    return answers


def keys(sql: Sql, beginning: str = "") -> list[str]:
    """Return the keys of the stored budgets that begin with a text."""
    rows = sql("SELECT key FROM auth_throttle WHERE starts_with(key, %s) ORDER BY key", beginning)
    return [key for (key,) in rows]
