"""What the calls that ask for the password cost, with a second factor and without one."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.actor import ME, Actor
from tests.support.database import run_sql
from tests.support.recorder import RecordedService
from tests.support.second_factors import enrol

# What proves the password, and then the code: each is charged and given back.
PASSWORD_PROOF = ["SELECT", "charge", "settle"]
CODE_PROOF = ["SELECT", "charge", "settle"]
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def recorded(record: Callable[..., RecordedService]) -> RecordedService:
    return record("second_factor")


@pytest.fixture(scope="module")
def without(record: Callable[..., RecordedService]) -> RecordedService:
    """A service whose second factor is off."""
    return record("no_second_factor", two_factor=None)


def verb(statement: str) -> str:
    if "auth_throttle" in statement:
        return "charge" if statement.startswith("INSERT") else "settle"
    return statement.split()[0]


def rename(user: Actor, **code: str) -> Any:
    return user.change_profile(username=f"{user.username}2", current_password=user.password, **code)


def delete(user: Actor, **code: str) -> Any:
    return user.send("DELETE", ME, {"password": user.password} | code)


@pytest.mark.parametrize(
    ("call", "first", "stored", "off"),
    [
        pytest.param(rename, ["SELECT"], ["BEGIN", "WITH", "{code}", "COMMIT"], ["WITH"], id="PATCH"),
        pytest.param(delete, [], ["BEGIN", "WITH", "{code}", "WITH", "COMMIT"], ["WITH"], id="DELETE"),
    ],
)
def test_second_factor_costs_a_transaction_and_with_a_code_three_messages(
    recorded: RecordedService,
    without: RecordedService,
    call: Call,
    first: list[str],
    stored: list[str],
    off: list[str],
) -> None:
    name = call.__name__
    plain, careful = (Actor(recorded.ada.client, f"{name}{number}").register() for number in range(2))
    unable = Actor(without.ada.client, name).register()
    app = enrol(careful)
    run_sql(recorded.url, "UPDATE auth_second_factors SET last_step = -1")

    alone = recorded.statements(lambda: call(plain))
    both = recorded.statements(lambda: call(careful, code=app.code()))
    switched_off = without.statements(lambda: call(unable))

    forgets = ["settle"] * 2 if call is delete else []
    looks, uses = ([verb.format(code=code) for verb in stored] for code in ("SELECT", "UPDATE"))
    assert [verb(each) for each in alone] == [*first, *PASSWORD_PROOF, *looks, *forgets]
    assert [verb(each) for each in both] == [*first, *PASSWORD_PROOF, *CODE_PROOF, *uses, *forgets]
    assert [verb(each) for each in switched_off] == [*first, *PASSWORD_PROOF, *off, *forgets[:1]]
