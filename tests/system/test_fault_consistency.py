"""PostgreSQL breaks in the middle of writes: what is answered and what is stored never contradict each other.

The tests run gunicorn with two workers, and a PostgreSQL that each test breaks and mends.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
import requests

from tests.support.actor import LOGIN
from tests.support.database import held_open, run_sql
from tests.support.faulty_postgres import FaultyPostgres
from tests.support.queries import count_connections
from tests.support.service_user import (
    ServiceUser,
    assert_recovered,
    assert_refused,
    on_service,
    registering,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def user(postgres: FaultyPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceUser]:
    log = tmp_path_factory.mktemp("service") / "log"
    with on_service(log, postgres.url, REFRESH_REUSE_SECONDS="1") as user:
        yield user


def open_connections(user: ServiceUser, postgres: FaultyPostgres) -> None:
    """Let the service open every connection that it may have."""
    with ThreadPoolExecutor(16) as threads:
        with held_open(postgres.url, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"):
            waiting = [threads.submit(user.me) for _ in range(16)]
            time.sleep(0.5)
        assert {done.result().status_code for done in waiting} <= {200, 503}


def test_what_a_frozen_database_received_is_not_carried_out_when_it_wakes(
    user: ServiceUser, postgres: FaultyPostgres
) -> None:
    """The kernel takes what is sent on an open connection; its backend reads it when it wakes."""
    assert_recovered(user)
    open_connections(user, postgres)
    tokens = [user.try_log_in().get_json()["refresh_token"] for _ in range(2)]
    names = ["late1", "late2"]
    calls = [partial(user.try_refresh, token) for token in tokens]
    calls += [partial(user.register_another, name) for name in names]

    with postgres.frozen(), ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(assert_refused, calls))
    time.sleep(1.5)  # if the tokens had been replaced, they would be refused after REFRESH_REUSE_SECONDS

    assert [reply.get_json()["code"] for reply in replies] == ["database_unavailable"] * 4
    assert [call().status_code for call in calls] == [200, 200, 201, 201]


def test_what_was_answered_with_201_is_never_missing(user: ServiceUser, postgres: FaultyPostgres) -> None:
    with registering(user) as created:
        for _ in range(3):
            time.sleep(0.3)
            with postgres.stopped(at_once=True):
                time.sleep(0.1)
        time.sleep(0.3)

    stored = {name for (name,) in run_sql(postgres.url, "SELECT username FROM users")}
    assert len(created) > 20
    assert set(created) <= stored


def test_errors_and_disconnects_leak_no_connection(user: ServiceUser, postgres: FaultyPostgres) -> None:
    def storm() -> None:
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda _: user.me().status_code, range(200)))

    def hang_up(_: int) -> None:
        credential = {"username": user.username, "password": user.password}
        with suppress(requests.RequestException):  # a ConnectionError in the middle of the answer
            requests.post(f"{user.service.url}{LOGIN}", json=credential, timeout=0.002)

    assert_recovered(user)
    storm()
    most_connections = 2 * (4 + 1)  # two workers, each with its pool and its connection for health checks

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(hang_up, range(200)))
    deadline = time.monotonic() + 20
    refused = 0  # in a row
    while refused < 30:  # the logins of the clients that hung up may keep the hash slots busy for a while
        reply = user.register_another(user.username)
        assert reply.status_code in (409, 503)
        assert time.monotonic() < deadline
        refused = refused + 1 if reply.status_code == 409 else 0
    storm()
    user.log_in()  # the logins of the clients that hung up have revoked the session of before

    assert count_connections(postgres.url) <= most_connections
    assert_recovered(user)
