"""How many statements, and so round trips, each call costs."""

import re
from collections.abc import Callable

import pytest

from tests.support.actor import Actor
from tests.support.recorder import RecordedService


@pytest.fixture(scope="module")
def recorded(record: Callable[[str], RecordedService]) -> RecordedService:
    return record("recorded")


def verbs(statements: list[str]) -> list[str]:
    return [statement.split()[0] for statement in statements]


def profile_statements(statements: list[str]) -> list[list[str]]:
    """Return which statements of a profile change each text holds; common table expressions precede them."""
    return [re.findall("^SELECT (?:id|password)|UPDATE users", statement) for statement in statements]


def test_register_is_one_transaction(recorded: RecordedService) -> None:
    bob = Actor(recorded.ada.client, "bob")

    statements = recorded.statements(bob.register)

    assert verbs(statements) == ["BEGIN", "INSERT", "INSERT", "WITH", "COMMIT"]


def test_login_is_one_select_and_one_transaction(recorded: RecordedService) -> None:
    statements = recorded.statements(recorded.ada.try_log_in)

    assert verbs(statements) == ["SELECT", "BEGIN", "INSERT", "WITH", "COMMIT"]


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda user, _: user.me(), id="me"),
        pytest.param(lambda user, _: user.sessions(), id="list"),
        pytest.param(lambda user, other: user.revoke_session(other.session_id), id="revoke"),
    ],
)
def test_guarded_call_is_one_statement(
    recorded: RecordedService, call: Callable[[Actor, Actor], object]
) -> None:
    user, other = recorded.ada.elsewhere(), recorded.ada.elsewhere()

    statements = recorded.statements(lambda: call(user, other))

    assert len(statements) == 1


def test_change_of_a_name_is_one_select_and_one_update(recorded: RecordedService) -> None:
    statements = recorded.statements(lambda: recorded.ada.change_profile(first_name="Ada"))

    assert profile_statements(statements) == [["SELECT id"], ["UPDATE users"]]


def test_change_of_the_username_reads_the_password_in_between(recorded: RecordedService) -> None:
    user = Actor(recorded.ada.client, "grace").register()

    statements = recorded.statements(
        lambda: user.change_profile(username="countess", current_password=user.password)
    )

    assert profile_statements(statements) == [["SELECT id"], ["SELECT password"], ["UPDATE users"]]


def test_change_to_the_same_name_is_one_select(recorded: RecordedService) -> None:
    recorded.ada.change_profile(first_name="Augusta")

    statements = recorded.statements(lambda: recorded.ada.change_profile(first_name="Augusta"))

    assert profile_statements(statements) == [["SELECT id"]]


def test_refresh_is_one_statement(recorded: RecordedService) -> None:
    user = recorded.ada.elsewhere()

    statements = recorded.statements(user.refresh)

    assert verbs(statements) == ["UPDATE"]


def test_logout_is_one_statement(recorded: RecordedService) -> None:
    user = recorded.ada.elsewhere()

    statements = recorded.statements(user.log_out)

    assert verbs(statements) == ["DELETE"]
