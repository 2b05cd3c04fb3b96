"""A code works once, on whichever worker a request arrives, and a killed worker leaves nothing half done."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import requests

from tests.support import service
from tests.support.actor import Actor
from tests.support.database import Sql, held_open, run_sql
from tests.support.queries import wait_until
from tests.support.races import Call, SessionCount, at_once, deadlocks, frozen, statuses, wait_until_blocked
from tests.support.second_factors import WRONG_CODE, App, enrol, forget_steps, second_step, ticket_of

pytestmark = pytest.mark.slow

ROUNDS = 5
REQUESTS = 5  # as many as the limit of an account lets pass at once
HELD = "SELECT FROM users FOR UPDATE"


@pytest.fixture
def sql(url: str) -> Sql:
    run_sql(url, "DELETE FROM auth_throttle")
    return partial(run_sql, url)


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """Ada's authenticator app, whose second factor is in force."""
    return enrol(ada, sql)


def on_two_workers(workers: service.Service, url: str, first: Call, second: Call) -> list[Any]:
    """Have each worker make one call up to the lock of the user's row, then let both go on."""
    one, another = workers.workers()
    with ThreadPoolExecutor(2) as threads:
        with held_open(url, HELD):
            with frozen(one):
                answers = [threads.submit(first)]
                wait_until_blocked(url, 1)
            with frozen(another):
                answers.append(threads.submit(second))
                wait_until_blocked(url, 2)
        return [answer.result() for answer in answers]


@pytest.mark.parametrize("kind", ["code", "recovery_code"])
def test_one_code_on_two_workers_opens_one_session(
    ada: Actor, phone: App, workers: service.Service, url: str, session_count: SessionCount, kind: str
) -> None:
    typed = {kind: phone.code() if kind == "code" else phone.recovery_codes[0]}
    calls = [partial(second_step, ada.client, ticket_of(ada), **typed) for _ in range(2)]

    answers = on_two_workers(workers, url, *calls)

    assert sorted(codes_of(answers)) == ["", "code_invalid"]
    assert session_count(ada) == 2


def test_one_ticket_on_two_workers_opens_one_session(
    ada: Actor, phone: App, workers: service.Service, url: str, sql: Sql, session_count: SessionCount
) -> None:
    ticket = ticket_of(ada)
    calls = [
        partial(second_step, ada.client, ticket, code=phone.code()),
        partial(second_step, ada.client, ticket, recovery_code=phone.recovery_codes[0]),
    ]

    answers = on_two_workers(workers, url, *calls)

    assert codes_of(answers) == ["", "ticket_invalid"]
    assert session_count(ada) == 2
    assert sql("SELECT recovery_hashes[1] IS NOT NULL FROM auth_second_factors") == [(True,)]


def test_one_code_at_once_opens_one_session(
    ada: Actor, phone: App, url: str, sql: Sql, session_count: SessionCount
) -> None:
    for number in range(ROUNDS):
        forget_steps(sql)
        sql("DELETE FROM auth_throttle")
        steps = [partial(second_step, ada.client, ticket_of(ada), code=phone.code()) for _ in range(REQUESTS)]

        assert statuses(at_once(*steps)) == {200: 1, 401: REQUESTS - 1}
        assert session_count(ada) == number + 2

    assert deadlocks(url) == 0


def test_guesses_at_once_on_two_workers_pass_five_times(ada: Actor, phone: App, sql: Sql) -> None:
    guesses = [partial(second_step, ada.client, ticket_of(ada), code=WRONG_CODE) for _ in range(24)]

    assert statuses(at_once(*guesses)) == {401: 5, 429: 19}


def test_worker_that_is_killed_uses_up_neither_ticket_nor_code(
    ada: Actor, phone: App, workers: service.Service, url: str, sql: Sql, session_count: SessionCount
) -> None:
    one, another = workers.workers()
    ticket, code = ticket_of(ada), phone.code()

    with ThreadPoolExecutor(1) as threads, held_open(url, HELD):
        with frozen(one):
            answer = threads.submit(second_step, ada.client, ticket, code=code)
            wait_until_blocked(url, 1)
            os.kill(another, signal.SIGKILL)
        with pytest.raises(requests.ConnectionError):
            answer.result()
    wait_until(url, "count(*) = 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

    assert session_count(ada) == 1
    assert second_step(ada.client, ticket, code=code).status_code == 200


def codes_of(answers: list[Any]) -> list[str]:
    """Return the error code of each answer, "" of a success."""
    return [answer.get_json().get("code", "") for answer in answers]
