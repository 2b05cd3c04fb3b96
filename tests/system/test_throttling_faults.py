"""The table of the budgets misbehaves: answers stay bounded and honest, and everything recovers at once.

The tests run gunicorn with two workers, and a PostgreSQL that each test breaks.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.support.actor import WRONG_PASSWORD, Actor, Reply
from tests.support.database import held_open, run_sql
from tests.support.faulty_postgres import FaultyPostgres
from tests.support.guessing import guessing
from tests.support.races import Call, statuses
from tests.support.service_user import ServiceUser, assert_recovered, assert_refused, on_service

pytestmark = pytest.mark.slow

LIMIT = 10
LOCK_SECONDS = 0.5  # how long a request waits for a budget that somebody has locked
SLACK_SECONDS = 1.5
RECOVERY_SECONDS = 10.0


@pytest.fixture(scope="module")
def user(postgres: FaultyPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceUser]:
    """A registered user. The limits are those of production; registrations have no limit to speak of."""
    log: Path = tmp_path_factory.mktemp("service") / "log"
    with on_service(log, postgres.url, TRUSTED_PROXIES="1", LIMIT_REGISTRATIONS="9999/1s") as user:
        yield user


@pytest.fixture(autouse=True)
def budgets_are_full(user: ServiceUser, postgres: FaultyPostgres) -> None:
    run_sql(postgres.url, "DELETE FROM auth_throttle")


def guess(user: Actor, number: int = 0) -> Reply:
    """Try a wrong password from an address that the account does not know."""
    reply: Reply = user.send(
        *("POST", "/api/auth/login", {"username": user.username, "password": WRONG_PASSWORD}),
        token="",
        headers={"X-Forwarded-For": f"203.0.113.{number}"},
    )
    return reply


def use_up_the_budget(user: ServiceUser) -> None:
    assert statuses([guess(user) for _ in range(LIMIT + 1)]) == {401: LIMIT, 429: 1}


def kill_a_backend(postgres: FaultyPostgres) -> None:
    """Kill a process of PostgreSQL, which ends all the others and recovers by itself, as after a crash."""
    [(started,)] = run_sql(postgres.url, "SELECT pg_postmaster_start_time()")
    [(pid,)] = run_sql(
        postgres.url, "SELECT pid FROM pg_stat_activity WHERE application_name = 'user-service' LIMIT 1"
    )
    os.kill(pid, signal.SIGKILL)
    await_success(lambda: run_sql(postgres.url, "SELECT 1"))
    assert run_sql(postgres.url, "SELECT pg_postmaster_start_time()") == [(started,)]


def await_success(call: Call) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        time.sleep(0.05)
        try:
            call()
            return
        except Exception:
            assert time.monotonic() < deadline


def stop_and_start(postgres: FaultyPostgres) -> None:
    with postgres.stopped(at_once=True):
        pass


@pytest.mark.parametrize("crash", [stop_and_start, kill_a_backend])
def test_crash_fills_every_budget(
    user: ServiceUser, postgres: FaultyPostgres, crash: Callable[[FaultyPostgres], None]
) -> None:
    use_up_the_budget(user)

    crash(postgres)

    assert run_sql(postgres.url, "SELECT key FROM auth_throttle") == []
    assert_recovered(user)
    use_up_the_budget(user)


def test_restart_keeps_every_budget(user: ServiceUser, postgres: FaultyPostgres) -> None:
    use_up_the_budget(user)

    postgres.restart()

    assert guess(user).status_code == 429


def test_dropped_table_is_made_again(user: ServiceUser, postgres: FaultyPostgres) -> None:
    use_up_the_budget(user)

    run_sql(postgres.url, "DROP TABLE auth_throttle")

    assert_refused(user.try_log_in)  # the worker finds out: its next request makes the table
    user.try_log_in()  # the other worker may have to find out as well
    assert_recovered(user)
    use_up_the_budget(user)


def test_restart_during_an_attack_lets_no_guess_more_through(
    user: ServiceUser, postgres: FaultyPostgres
) -> None:
    with guessing(user.service.port, user.username, seconds=4, connections=16) as guesses:
        time.sleep(1)
        postgres.restart()
        answers = guesses.answers()

    assert answers.keys() <= {401, 429, 503}
    assert 0 < answers[401] <= LIMIT
    assert_recovered(user)


def timed(call: Call) -> tuple[Reply, float]:
    started = time.monotonic()
    return call(), time.monotonic() - started


def assert_refused_after_the_lock_timeout(*calls: Call) -> None:
    """Make all calls at once. Assert that each is refused after LOCK_SECONDS, before any other deadline."""
    with ThreadPoolExecutor(len(calls)) as threads:
        for done in [threads.submit(timed, partial(assert_refused, call)) for call in calls]:
            reply, seconds = done.result()
            assert reply.get_json()["code"] == "database_unavailable"
            assert LOCK_SECONDS <= seconds < LOCK_SECONDS + SLACK_SECONDS


def test_locked_budget_is_503_for_its_account_alone(user: ServiceUser, postgres: FaultyPostgres) -> None:
    bob = Actor(user.client, "bob").register()
    guess(user)
    lock = f"SELECT FROM auth_throttle WHERE key = 'account {user.id} strangers' FOR UPDATE"

    with held_open(postgres.url, lock):
        assert_refused_after_the_lock_timeout(*[partial(guess, user)] * 3)
        assert statuses([guess(bob), user.me(), user.register_another()]) == {401: 1, 200: 1, 201: 1}
        # The login would give the strangers their budget back: it waits for that, and then goes on without.
        reply, seconds = timed(user.try_log_in)
        assert (reply.status_code, seconds < LOCK_SECONDS + SLACK_SECONDS) == (200, True)

    guesses = [guess(user).status_code for _ in range(LIMIT)]
    assert guesses == [401] * (LIMIT - 1) + [429]  # those that were refused have charged nothing


def test_locked_table_is_503_for_logins_alone(user: ServiceUser, postgres: FaultyPostgres) -> None:
    guess(user)

    with held_open(postgres.url, "LOCK TABLE auth_throttle IN ACCESS EXCLUSIVE MODE"):
        assert_refused_after_the_lock_timeout(user.try_log_in, user.register_another, partial(guess, user))
        assert statuses([user.me(), user.try_refresh()]) == {200: 2}
        assert user.health().get_json()["database"] == "connected"

    assert guess(user).status_code == 401
    assert_recovered(user)
