"""A refusal tells nothing of whether there is such an account: neither by its answer nor by its time.

The calls go to the WSGI application inside this process, which is less noisy than a socket. Both accounts and
the yardstick take turns, so that what else happens on the machine happens to all of them.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from auth import users
from auth.throttling.guard import REFUSAL_SECONDS
from db import Cursor
from runtime import logs
from runtime.settings import Rate
from tests.support.actor import LOGIN, WRONG_PASSWORD, Actor
from tests.support.apps import app_on
from tests.support.database import MakeDatabase
from tests.support.timing import CHANCE, SAMPLES, Answer, p_value, statement_seconds, timed_post

pytestmark = pytest.mark.slow

SESSIONS = 5
BUDGET_SECONDS = 600  # 10 guesses, one a minute: the default
STRANGE = "203.0.113.1"  # an address that the account does not know

# A difference counts if it is both larger than chance explains and larger than a share of the yardstick.
HASH_SHARE = 0.05
STATEMENT_SHARE = 1.0


@pytest.fixture(scope="module")
def app(make_database: MakeDatabase) -> Iterator[Flask]:
    """A service on which ada has SESSIONS sessions, and which writes no log."""
    app = app_on(
        make_database(),
        bcrypt_rounds=7,
        trusted_proxies=1,
        limit_address_failures=Rate(999999, "1s"),
        lockout_failures=0,
    )
    ada = Actor(app.test_client()).register()
    for _ in range(SESSIONS - 1):
        ada.log_in()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "write", lambda _line: None)
        yield app
    app.extensions["auth"].database.close()


def use_budget(cur: Cursor, seconds: int) -> None:
    cur.execute(
        "UPDATE auth_throttle SET full_at = now() + make_interval(secs => %s) WHERE key LIKE 'account %%'",
        (seconds,),
    )


def try_to_log_in(app: Flask, username: str, *, used_seconds: int) -> tuple[Answer, float]:
    """Return the answer to a guess, and the seconds that it took. used_seconds: of the account's budget."""
    app.extensions["auth"].database.write(use_budget, used_seconds)
    body = {"username": username, "password": WRONG_PASSWORD}
    return timed_post(app, LOGIN, body, {"X-Forwarded-For": STRANGE, "X-Request-ID": "x"})


def hash_seconds(app: Flask) -> float:
    started = time.perf_counter()
    app.extensions["auth"].passwords.verify(WRONG_PASSWORD, None)
    return time.perf_counter() - started


@pytest.mark.parametrize(
    ("used_seconds", "status", "yardstick", "share"),
    [
        pytest.param(0, "401 UNAUTHORIZED", hash_seconds, HASH_SHARE, id="before"),
        pytest.param(BUDGET_SECONDS - 60, "401 UNAUTHORIZED", hash_seconds, HASH_SHARE, id="at"),
        # A refusal goes out REFUSAL_SECONDS after the request came, which hides what the look-up took.
        pytest.param(
            BUDGET_SECONDS, "429 TOO MANY REQUESTS", statement_seconds, STATEMENT_SHARE, id="beyond"
        ),
    ],
)
def test_account_and_no_account_are_alike_before_at_and_beyond_the_limit(
    app: Flask, used_seconds: int, status: str, yardstick: Callable[[Flask], float], share: float
) -> None:
    seconds: dict[str, list[float]] = {"ada": [], "nobody": []}
    yardsticks = []
    answers: list[Any] = []

    for username in seconds:
        try_to_log_in(app, username, used_seconds=0)  # its row is there from now on
    for turn in range(SAMPLES):
        for username in sorted(seconds, reverse=turn % 2 == 0):
            answer, taken = try_to_log_in(app, username, used_seconds=used_seconds)
            answers.append(answer)
            seconds[username].append(taken)
        yardsticks.append(yardstick(app))

    assert answers[0][0] == status
    assert answers == [answers[0]] * (2 * SAMPLES)
    difference = abs(statistics.median(seconds["ada"]) - statistics.median(seconds["nobody"]))
    is_chance = p_value(*seconds.values()) >= CHANCE
    assert is_chance or difference < share * statistics.median(yardsticks)


def test_refusal_hides_the_time_of_the_look_up(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if an account that exists took 8 ms longer to find."""
    find_by_login = users.find_by_login

    def slow(cur: Cursor, identifier: str, **others: Any) -> Any:
        time.sleep(0.008 if identifier == "ada" else 0.0)
        return find_by_login(cur, identifier, **others)

    monkeypatch.setattr(users, "find_by_login", slow)
    seconds: dict[str, list[float]] = {"ada": [], "nobody": []}
    for username in seconds:
        try_to_log_in(app, username, used_seconds=0)
    for _ in range(30):
        for username, taken in seconds.items():
            taken.append(try_to_log_in(app, username, used_seconds=BUDGET_SECONDS)[1])

    medians = [statistics.median(taken) for taken in seconds.values()]
    assert min(medians) > REFUSAL_SECONDS
    assert abs(medians[0] - medians[1]) < 0.004


def test_difference_between_samples_is_told_from_chance() -> None:
    ones = [1 + number / 1000 for number in range(SAMPLES)]

    assert p_value(ones, ones) > 0.9
    assert p_value(ones, [each + 0.001 for each in ones]) > 0.5
    assert p_value(ones, [each + 0.1 for each in ones]) < 1e-9
