"""A limit is exact: over workers, over replicas, and over clocks that differ."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial

import pytest
import requests

from tests.support import replicas
from tests.support.actor import WRONG_PASSWORD, Actor, HttpClient
from tests.support.guessing import address
from tests.support.races import at_once, statuses
from tests.support.service import Service

pytestmark = pytest.mark.slow

RUNS = 10
CLIENTS = 64
LIMIT = 10
# In the time that a run takes, no guess becomes available again. A clock that is SECONDS_FAST would make one
# available at once.
INTERVAL_SECONDS = 4
SECONDS_FAST = 5


@pytest.fixture(scope="module", params=[0, SECONDS_FAST], ids=["equal clocks", "different clocks"])
def pair(
    request: pytest.FixtureRequest, url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, Service]]:
    """Two replicas. Each client has an address of its own, so that only the limit of the account counts."""
    with replicas.running(
        tmp_path_factory.mktemp("replicas"),
        url,
        seconds_fast=request.param,
        TRUSTED_PROXIES="1",
        LIMIT_ACCOUNT_FAILURES=f"{LIMIT}/{LIMIT * INTERVAL_SECONDS}s",
    ) as pair:
        assert abs(seconds_apart(*pair) - request.param) < 1
        yield pair


def seconds_apart(first: Service, second: Service) -> float:
    """Return how much later it is by the clock of the second replica."""
    timestamps = [
        requests.get(f"{each.url}/health", timeout=10).json()["timestamp"] for each in (first, second)
    ]
    moments = [datetime.fromisoformat(timestamp.replace("Z", "+00:00")) for timestamp in timestamps]
    return (moments[1] - moments[0]).total_seconds()


def guesses_at_once(pair: tuple[Service, Service], username: str) -> tuple[Counter[int], float]:
    """Guess once at the first replica, then with all other clients at both.

    Return how many answers had which status, and the seconds that it took.
    """
    clients = [Actor(HttpClient(pair[number % 2].url), username) for number in range(CLIENTS)]
    guesses = [
        partial(
            client.send,
            *("POST", "/api/auth/login", {"username": username, "password": WRONG_PASSWORD}),
            headers={"X-Forwarded-For": address(number)},
        )
        for number, client in enumerate(clients)
    ]
    started = time.monotonic()
    answers = [guesses[0](), *at_once(*guesses[1:])]
    return statuses(answers), time.monotonic() - started


@pytest.mark.parametrize("is_registered", [True, False], ids=["account", "no account"])
def test_exactly_the_allowed_guesses_reach_the_hash(
    pair: tuple[Service, Service], *, is_registered: bool
) -> None:
    for run in range(RUNS):
        username = f"user{run}-{time.monotonic_ns()}"
        if is_registered:
            Actor(HttpClient(pair[0].url), username).register()

        answers, seconds = guesses_at_once(pair, username)

        allowed = LIMIT + int(seconds / INTERVAL_SECONDS)
        assert answers == {401: answers[401], 429: CLIENTS - answers[401]}
        assert LIMIT <= answers[401] <= allowed, f"run {run} of {seconds:.1f} s"
