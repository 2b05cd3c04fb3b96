"""Whoever has the address, POST /password/forgot takes the same time (user enumeration, timing attack)."""

import statistics
from collections.abc import Iterator

import pytest
from flask import Flask

from auth.throttling import keys
from runtime import logs
from runtime.settings import Rate
from tests.support import SECRET_KEY
from tests.support.actor import Actor
from tests.support.apps import app_on
from tests.support.database import MakeDatabase, run_sql
from tests.support.mails import mail_settings
from tests.support.resets import FORGOT
from tests.support.timing import CHANCE, SAMPLES, p_value, statement_seconds, timed_post

pytestmark = pytest.mark.slow

STATEMENT_SHARE = 0.5  # of the time of a statement; a look-up takes one
USERS = ("unverified", "verified", "used-up")


@pytest.fixture(scope="module")
def app(make_database: MakeDatabase) -> Iterator[Flask]:
    """A service with mail and with all kinds of users, which writes no log."""
    url = make_database()
    app = app_on(url, mail=mail_settings(limit_mail_requests=Rate(999999, "1s")))
    for name in USERS:
        Actor(app.test_client(), name).register()
    run_sql(url, "INSERT INTO auth_emails SELECT id, email FROM users WHERE username = 'verified'")
    key = keys.mailbox("used-up@example.com", key=SECRET_KEY)
    run_sql(url, "INSERT INTO auth_throttle (key, full_at) VALUES (%s, 'infinity')", key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "write", lambda _line: None)
        yield app
    app.extensions["auth"].database.close()


@pytest.mark.parametrize("user", USERS)
def test_user_and_nobody_are_alike(app: Flask, user: str) -> None:
    seconds: dict[str, list[float]] = {user: [], "nobody": []}
    yardsticks = []
    answers = []

    for turn in range(SAMPLES):
        for name in sorted(seconds, reverse=turn % 2 == 0):
            body = {"email": f"{name}@example.com"}
            answer, taken = timed_post(app, FORGOT, body, {"X-Request-ID": "x"})
            answers.append(answer)
            seconds[name].append(taken)
        yardsticks.append(statement_seconds(app))

    assert answers[0][0] == "202 ACCEPTED"
    assert answers == [answers[0]] * (2 * SAMPLES)
    difference = abs(statistics.median(seconds[user]) - statistics.median(seconds["nobody"]))
    is_chance = p_value(*seconds.values()) >= CHANCE
    assert is_chance or difference < STATEMENT_SHARE * statistics.median(yardsticks)
