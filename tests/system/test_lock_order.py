"""Calls that meet at the same rows: they wait for each other in one order, and never deadlock."""

from collections.abc import Callable
from functools import partial
from itertools import combinations_with_replacement, count
from typing import Any

import bcrypt
import pytest

from tests.support import PASSWORD
from tests.support.actor import REGISTER, Actor
from tests.support.database import run_sql
from tests.support.races import NewUser, at_once, deadlocks, statuses, wait_for_both

pytestmark = pytest.mark.slow

WEAK_HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()  # every login strengthens it


@pytest.fixture(scope="module")
def bcrypt_rounds() -> int:
    """One more than WEAK_HASH has."""
    return 5


def change(user: Actor, **fields: object) -> Any:
    return user.change_profile(current_password=PASSWORD, **fields)


def test_deletion_against_revoking_the_other_sessions_is_no_deadlock(ada: Actor, url: str) -> None:
    phone, tablet = ada.elsewhere(), ada.elsewhere()
    ada.refresh()  # its row lies behind the others now, in the order of a deletion
    before = deadlocks(url)

    revocation, deletion = wait_for_both(
        url,
        phone.revoke_other_sessions,
        tablet.delete,
        held=f"SELECT FROM auth_sessions WHERE user_id = {ada.id} ORDER BY id LIMIT 1 FOR UPDATE",
    )

    assert (revocation.status_code, deletion.status_code) == (204, 204)
    assert deadlocks(url) == before


def test_password_change_against_revoking_the_other_sessions_is_no_deadlock(ada: Actor, url: str) -> None:
    """Both are held up at the same session, so that they meet there."""
    phone, tablet = ada.elsewhere(), ada.elsewhere()
    before = deadlocks(url)

    password_change, revocation = wait_for_both(
        url,
        ada.change_password,
        phone.revoke_other_sessions,
        held=f"SELECT FROM auth_sessions WHERE id = {tablet.session_id} FOR UPDATE",
    )

    assert password_change.status_code in (200, 401)
    assert revocation.status_code in (204, 401)
    assert deadlocks(url) == before


def test_two_users_who_take_each_others_usernames_get_a_conflict(
    ada: Actor, new_user: NewUser, url: str
) -> None:
    """Both are held up at their new emails: each has let go of a username before it asks for the other.

    PostgreSQL breaks this deadlock, and the service repeats the statement, once. A repetition that meets
    the other transaction again may be a second deadlock, which is a 503; then the test begins anew.
    """
    bob = new_user("bob")
    broken_deadlocks = 0
    for _ in range(5):
        before = deadlocks(url)

        answers = wait_for_both(
            url,
            partial(change, ada, username="BOB", email="one@example.com"),
            partial(change, bob, username="ADA", email="two@example.com"),
            held="INSERT INTO users (username, email, password)"
            " VALUES ('one', 'one@example.com', '-'), ('two', 'two@example.com', '-')",
        )

        broken_deadlocks = deadlocks(url) - before
        refusals = {(answer.status_code, answer.get_json()["code"]) for answer in answers}
        assert refusals <= {(409, "username_taken"), (503, "database_unavailable")}
        assert run_sql(url, "SELECT username FROM users ORDER BY id") == [("ada",), ("bob",)]
        if broken_deadlocks == 1:
            break
    assert broken_deadlocks == 1  # else nothing was repeated
    assert refusals == {(409, "username_taken")}


numbers = count()


def register_another(user: Actor) -> Any:
    name = f"new{next(numbers)}"
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    return user.send("POST", REGISTER, body, token="")


# What a user may do from one of their sessions, or from another.
CALLS: dict[str, Callable[[Actor, Actor], Any]] = {
    "register": lambda user, _: register_another(user),
    "login": lambda user, _: user.try_log_in(),
    "refresh": lambda user, _: user.try_refresh(),
    "refresh the other": lambda _, other: other.try_refresh(),
    "change a name": lambda user, _: change(user, first_name=f"A{next(numbers)}"),
    "change the username": lambda user, _: change(user, username=f"changed{next(numbers)}"),
    "change the password": lambda user, _: user.change_password(),
    "delete": lambda user, _: user.delete(),
    "log out": lambda _, other: other.log_out(),
    "revoke the others": lambda user, _: user.revoke_other_sessions(),
    "revoke the others from the other": lambda _, other: other.revoke_other_sessions(),
}


def devices_of_a_new_user(new_user: NewUser, url: str) -> list[Actor]:
    """Return five devices of a user whose hash is weak; the rows lie in another order than their ids."""
    user = new_user(f"user{next(numbers)}")
    devices = [user, *(user.elsewhere() for _ in range(4))]
    for number in (2, 0):
        devices[number].refresh()
    run_sql(url, "UPDATE users SET password = %s WHERE id = %s", WEAK_HASH, user.id)
    return devices


@pytest.mark.parametrize("first", CALLS)
def test_any_two_calls_of_one_user_at_once_are_no_deadlock(new_user: NewUser, url: str, first: str) -> None:
    before = deadlocks(url)
    for one, another in combinations_with_replacement(CALLS, 2):
        if one != first:
            continue
        devices = devices_of_a_new_user(new_user, url)

        answers = at_once(
            partial(CALLS[one], devices[0], devices[4]),
            partial(CALLS[another], devices[0], devices[4]),
            partial(CALLS[one], devices[2], devices[3]),
            partial(CALLS[another], devices[2], devices[3]),
        )

        assert max(statuses(answers)) < 500, (one, another)
    assert deadlocks(url) == before
