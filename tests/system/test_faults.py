"""PostgreSQL misbehaves: the service answers honestly in bounded time, and recovers by itself.

The tests run gunicorn with two workers, and a PostgreSQL that each test breaks and mends.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.actor import Reply
from tests.support.database import held_open, run_sql
from tests.support.faulty_postgres import FaultyPostgres
from tests.support.service_user import (
    LateError,
    ServiceUser,
    assert_recovered,
    assert_refused,
    best_of_tries,
    on_service,
)

pytestmark = pytest.mark.slow

HEALTH_SECONDS = 3.0


@pytest.fixture(scope="module")
def user(postgres: FaultyPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceUser]:
    with on_service(tmp_path_factory.mktemp("service") / "log", postgres.url) as user:
        yield user


def assert_unavailable(call: Callable[[], Reply]) -> None:
    assert assert_refused(call).get_json()["code"] == "database_unavailable"


def assert_unhealthy(user: ServiceUser, *, database: str = "disconnected") -> None:
    started = time.monotonic()
    reply = user.health()
    seconds = time.monotonic() - started

    assert (reply.status_code, reply.get_json()["database"]) == (503, database)
    if seconds >= HEALTH_SECONDS:
        raise LateError(f"{seconds:.2f} s")
    assert user.live().status_code == 200


@pytest.mark.parametrize("at_once", [False, True], ids=["stopped", "stopped at once"])
def test_stopped_database_is_503_until_it_is_back(
    user: ServiceUser, postgres: FaultyPostgres, *, at_once: bool
) -> None:
    assert_recovered(user)

    with postgres.stopped(at_once=at_once):
        for call in (user.me, user.try_log_in, user.register_another):
            assert_unavailable(call)
        assert_unhealthy(user)

    assert_recovered(user)


def test_restarted_database_is_not_noticed_by_the_next_request(
    user: ServiceUser, postgres: FaultyPostgres
) -> None:
    assert_recovered(user)

    postgres.restart()

    assert_recovered(user)


def test_terminated_connections_are_not_noticed_by_the_next_request(
    user: ServiceUser, postgres: FaultyPostgres
) -> None:
    assert_recovered(user)

    run_sql(
        postgres.url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'user-service'",
    )

    assert_recovered(user)


def test_database_at_its_connection_limit_is_503_until_there_is_room(
    user: ServiceUser, postgres: FaultyPostgres
) -> None:
    with postgres.full():
        for call in (user.me, user.try_log_in, user.register_another):
            assert_unavailable(call)
        assert_unhealthy(user)

    assert_recovered(user)


def test_read_only_database_still_serves_what_only_reads(user: ServiceUser, postgres: FaultyPostgres) -> None:
    with postgres.read_only():
        assert user.me().status_code == 200
        assert_unavailable(user.try_log_in)  # a login opens a session
        assert_unavailable(user.register_another)
        assert_unhealthy(user, database="connected")

    assert_recovered(user)


def test_locked_table_is_503_until_the_lock_is_gone(user: ServiceUser, postgres: FaultyPostgres) -> None:
    calls = (user.me, user.try_log_in, user.register_another)

    with (
        held_open(postgres.url, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"),
        ThreadPoolExecutor(3) as threads,
    ):
        for done in [threads.submit(assert_unavailable, call) for call in calls]:
            done.result()
        assert_unhealthy(user, database="connected")

    assert_recovered(user)


def test_frozen_database_is_503_in_time_even_when_every_connection_hangs(
    user: ServiceUser, postgres: FaultyPostgres
) -> None:
    assert_recovered(user)
    calls = (user.me, user.try_log_in, user.register_another)

    def ask_while_every_connection_hangs() -> None:
        with postgres.frozen(), ThreadPoolExecutor(70) as threads:
            hanging = [threads.submit(user.me) for _ in range(60)]
            time.sleep(0.3)
            asked: list[Future[Any]] = [threads.submit(assert_unhealthy, user) for _ in range(4)]
            asked += [threads.submit(assert_refused, call) for call in calls]
            for done in asked:
                done.result()
            assert {done.result().status_code for done in hanging} == {503}
        assert_recovered(user)

    best_of_tries(ask_while_every_connection_hangs)
