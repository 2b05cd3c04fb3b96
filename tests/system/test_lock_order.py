"""Calls that meet at the same rows: they wait for each other in one order, and never deadlock."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations_with_replacement, count
from typing import Any

import bcrypt
import pytest
import requests

from tests.support import PASSWORD, SECRET_KEY, service
from tests.support.database import MakeDatabase, held_open, run_sql
from tests.system.test_session_races import (
    Call,
    User,
    at_once,
    statuses,
    wait_for_workers,
    wait_until_blocked,
)

WEAK_HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()  # every login strengthens it


@pytest.fixture(scope="module")
def url(make_database: MakeDatabase) -> str:
    return make_database()


@pytest.fixture(scope="module")
def running(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    with service.running(log, DB_URL=url, SECRET_KEY=SECRET_KEY, BCRYPT_ROUNDS="5") as started:
        wait_for_workers(started)
        yield started
    assert '"exception"' not in log.read_text()


@pytest.fixture
def register(running: service.Service, url: str) -> Iterator[Callable[[str], User]]:
    """Register users, on a database that the test leaves empty."""
    yield lambda name: User(running, url, name)
    run_sql(url, "DELETE FROM users")


def deadlocks(url: str) -> int:
    """Return how many deadlocks there were; a backend reports its own when it ends at the latest."""
    run_sql(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'user-service' AND datname = current_database()",
    )
    found = run_sql(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(found[0][0])


def wait_for_both(url: str, first: Call, second: Call, *, held: str) -> list[requests.Response]:
    """Make two calls that both come to wait behind the lock that `held` takes, then let them go."""
    with ThreadPoolExecutor(2) as threads:
        with held_open(url, held):
            answers = [threads.submit(first)]
            wait_until_blocked(url, 1)
            answers.append(threads.submit(second))
            wait_until_blocked(url, 2)
        return [answer.result() for answer in answers]


def test_deletion_against_ending_the_other_sessions_is_no_deadlock(
    register: Callable[[str], User], url: str
) -> None:
    ada = register("ada")
    other, third = ada.opened(), ada.opened()
    ada.refresh(ada.pair)  # its row lies behind the others now, in the order of a deletion
    before = deadlocks(url)

    ending, deletion = wait_for_both(
        url,
        partial(ada.revoke_others, other),
        partial(ada.delete, third),
        held=f"SELECT FROM auth_sessions WHERE user_id = {ada.id} ORDER BY id LIMIT 1 FOR UPDATE",
    )

    assert (ending.status_code, deletion.status_code) == (204, 204)
    assert deadlocks(url) == before


def test_two_who_take_each_others_usernames_are_told_that_they_are_taken(
    register: Callable[[str], User], url: str
) -> None:
    """Both are held up at their new emails, so that each has let go of a name before asking for the other."""
    ada, bob = register("ada"), register("bob")
    before = deadlocks(url)

    answers = wait_for_both(
        url,
        partial(ada.patch, ada.pair, username="BOB", email="one@example.com"),
        partial(bob.patch, bob.pair, username="ADA", email="two@example.com"),
        held="INSERT INTO users (username, email, password)"
        " VALUES ('one', 'one@example.com', '-'), ('two', 'two@example.com', '-')",
    )

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(409, "username_taken")}
    assert run_sql(url, "SELECT username FROM users ORDER BY id") == [("ada",), ("bob",)]
    assert deadlocks(url) > before  # else nothing was repeated


names = count()

# What a user may do with two of their sessions; register and purge are there for everybody.
CALLS: dict[str, Callable[[User, dict[str, Any], dict[str, Any]], requests.Response]] = {
    "register": lambda user, _, __: user.send(
        "POST",
        "/api/auth/register",
        {"username": f"new{next(names)}", "email": f"new{next(names)}@example.com", "password": PASSWORD},
    ),
    "login": lambda user, _, __: user.log_in(),
    "refresh": lambda user, pair, _: user.refresh(pair),
    "refresh the other": lambda user, _, other: user.refresh(other),
    "change a name": lambda user, pair, _: user.patch(pair, first_name=f"A{next(names)}"),
    "change the username": lambda user, pair, _: user.patch(pair, username=f"changed{next(names)}"),
    "change the password": lambda user, pair, _: user.put_password(pair),
    "delete": lambda user, pair, _: user.delete(pair),
    "log out": lambda user, _, other: user.log_out(other),
    "end the others": lambda user, pair, _: user.revoke_others(pair),
    "end the others from the other": lambda user, _, other: user.revoke_others(other),
}


def user_with_sessions(register: Callable[[str], User], url: str) -> tuple[User, list[dict[str, Any]]]:
    """Return a user whose hash is weak, and sessions whose rows lie in another order than their ids."""
    user = register(f"user{next(names)}")
    pairs = [user.pair, *(user.opened() for _ in range(4))]
    for n in (2, 0):
        pairs[n] = user.refresh(pairs[n]).json()
    run_sql(url, "UPDATE users SET password = %s WHERE id = %s", WEAK_HASH, user.id)
    return user, pairs


@pytest.mark.parametrize("first", CALLS)
def test_any_two_calls_of_one_user_at_once_are_no_deadlock(
    register: Callable[[str], User], url: str, first: str
) -> None:
    before = deadlocks(url)
    for one, another in combinations_with_replacement(CALLS, 2):
        if one != first:
            continue
        user, pairs = user_with_sessions(register, url)

        answers = at_once(
            partial(CALLS[one], user, pairs[0], pairs[4]),
            partial(CALLS[another], user, pairs[0], pairs[4]),
            partial(CALLS[one], user, pairs[2], pairs[3]),
            partial(CALLS[another], user, pairs[2], pairs[3]),
        )

        assert max(statuses(answers)) < 500, (one, another)
    assert deadlocks(url) == before
