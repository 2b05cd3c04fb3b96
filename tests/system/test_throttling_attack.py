"""Somebody guesses a password from many addresses, as fast as the service answers. The owner logs in."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import PASSWORD
from tests.support.actor import LOGIN, WRONG_PASSWORD, Actor, Reply
from tests.support.database import run_sql
from tests.support.guessing import guessing
from tests.support.service_user import ServiceUser, on_service
from tests.support.throttling import ELAPSE

pytestmark = pytest.mark.slow

SECONDS = 3.0
LIMIT = 10
REFILL_SECONDS = 60
# TEST-NET-2 and TEST-NET-1. The guesses come from TEST-NET-3.
HOME, ELSEWHERE, STRANGE = "198.51.100.1", "192.0.2.1", "192.0.2.2"


@pytest.fixture(scope="module")
def owner(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceUser]:
    log: Path = tmp_path_factory.mktemp("service") / "log"
    with on_service(log, url, TRUSTED_PROXIES="1", DB_POOL_SIZE="8") as owner:
        yield owner


def log_in(user: Actor, *, ip: str, cookie: str = "", password: str = PASSWORD) -> Reply:
    headers = {"X-Forwarded-For": ip} | ({"Cookie": f"device={cookie}"} if cookie else {})
    body = {"username": user.username, "password": password}
    reply: Reply = user.send("POST", LOGIN, body, token="", headers=headers)
    return reply


def device_cookie(reply: Reply) -> str:
    name, _, value = str(reply.headers["Set-Cookie"]).partition(";")[0].partition("=")
    assert name == "device"
    return value


@contextmanager
def attack(user: ServiceUser) -> Iterator[None]:
    """Guess the user's password meanwhile. Fail unless exactly the allowed guesses were tried."""
    with guessing(user.service.port, user.username, seconds=SECONDS) as guesses:
        yield
        answers = guesses.answers()

    assert answers == {401: LIMIT, 429: answers[429]}
    assert answers[429] > 20 * SECONDS


def test_owner_logs_in_every_time_and_guesses_stay_within_the_limit(owner: ServiceUser, url: str) -> None:
    cookie = device_cookie(log_in(owner, ip=HOME))
    statuses = []

    with attack(owner):
        ends_at = time.monotonic() + SECONDS - 1
        while time.monotonic() < ends_at:
            statuses.append(log_in(owner, ip=ELSEWHERE, cookie=cookie).status_code)  # a known device
            statuses.append(log_in(owner, ip=HOME).status_code)  # a known address
            time.sleep(0.05)

    assert len(statuses) > 4
    assert set(statuses) == {200}
    # ELSEWHERE is known by now, too: sessions were opened there.
    refused = log_in(owner, ip=STRANGE)
    assert (refused.status_code, refused.get_json()["code"]) == (429, "too_many_attempts")
    assert 0 < refused.get_json()["retry_after"] <= REFILL_SECONDS

    run_sql(url, ELAPSE, REFILL_SECONDS)
    guesses = [log_in(owner, ip=STRANGE, password=WRONG_PASSWORD).status_code for _ in range(2)]
    assert guesses == [401, 429]

    run_sql(url, ELAPSE, REFILL_SECONDS)
    assert log_in(owner, ip=STRANGE).status_code == 200  # gives the budget back, and makes STRANGE known
    run_sql(url, "DELETE FROM auth_sessions")
    guesses = [log_in(owner, ip=STRANGE, password=WRONG_PASSWORD).status_code for _ in range(LIMIT + 1)]
    assert guesses == [401] * LIMIT + [429]
