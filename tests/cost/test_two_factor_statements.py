"""How many statements, and so round trips, each call under /2fa costs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cost.test_statements import CHARGE, SETTLE, verbs
from tests.support.actor import Actor
from tests.support.database import Sql, connected
from tests.support.mails import mail_settings
from tests.support.recorder import RecordedService
from tests.support.second_factors import (
    DISABLE,
    ENABLE,
    RENEW,
    SECOND_STEP,
    SETUP,
    WRONG_CODE,
    App,
    disable,
    enable,
    enrol,
    renew,
    set_up,
)

PASSWORD = ["SELECT", CHARGE, SETTLE]
CODE = ["SELECT", CHARGE, SETTLE]


@pytest.fixture(scope="module")
def recorded(record: Callable[..., RecordedService]) -> RecordedService:
    return record("recorded")


@pytest.fixture(scope="module")
def mailing(record: Callable[..., RecordedService]) -> RecordedService:
    return record("mailing", mail=mail_settings())


@pytest.fixture(params=["recorded", "mailing"])
def service(request: pytest.FixtureRequest) -> RecordedService:
    service: RecordedService = request.getfixturevalue(request.param)
    return service


@pytest.fixture
def sql(service: RecordedService) -> Iterator[Sql]:
    with connected(service.url) as run:
        yield run


@pytest.fixture
def user(service: RecordedService, sql: Sql) -> Actor:
    sql("DELETE FROM users WHERE username = 'grace'")
    return Actor(service.ada.client, "grace").register()


def notice_of(service: RecordedService) -> list[str]:
    """Return what a notice costs."""
    return ["INSERT"] if service.app.extensions["auth"].settings.mail else []


def test_setup_is_the_password_and_one_statement(service: RecordedService, user: Actor) -> None:
    assert verbs(service.statements(lambda: set_up(user))) == [*PASSWORD, "WITH"]


def test_enable_is_the_code_and_one_transaction(service: RecordedService, user: Actor) -> None:
    app = App.scanning(set_up(user).get_json())

    failure = service.statements_of_a_refusal(lambda: enable(user, WRONG_CODE))
    statements = service.statements(lambda: enable(user, app.code()))

    head = ["WITH", CHARGE]
    assert verbs(failure) == head
    assert verbs(statements) == [
        *head,
        SETTLE,
        *["BEGIN", "SELECT", "WITH", *notice_of(service), "COMMIT"],
    ]


def test_enable_without_a_setup_is_one_statement(service: RecordedService, user: Actor) -> None:
    assert verbs(service.statements_of_a_refusal(lambda: enable(user, WRONG_CODE))) == ["WITH"]


def test_disable_is_the_password_the_code_and_one_transaction(
    service: RecordedService, user: Actor, sql: Sql
) -> None:
    app = enrol(user, sql)

    failure = service.statements_of_a_refusal(lambda: disable(user, code=WRONG_CODE))
    statements = service.statements(lambda: disable(user, code=app.code()))

    assert verbs(failure) == [*PASSWORD, *CODE[:2]]
    assert verbs(statements) == [
        *PASSWORD,
        *CODE,
        *["BEGIN", "WITH", "UPDATE", "DELETE", "DELETE", *notice_of(service), "COMMIT"],
    ]


def test_renewal_is_the_password_the_code_and_one_transaction(
    service: RecordedService, user: Actor, sql: Sql
) -> None:
    app = enrol(user, sql)

    statements = service.statements(lambda: renew(user, code=app.code()))

    assert verbs(statements) == [*PASSWORD, *CODE, "BEGIN", "WITH", "UPDATE", "UPDATE", "COMMIT"]


@pytest.mark.parametrize("call", [disable, renew], ids=["disable", "renew"])
def test_without_a_factor_no_code_is_charged(
    service: RecordedService, user: Actor, call: Callable[..., Any]
) -> None:
    assert verbs(service.statements_of_a_refusal(lambda: call(user, code=WRONG_CODE))) == PASSWORD


@pytest.fixture(scope="module")
def without(record: Callable[..., RecordedService]) -> RecordedService:
    return record("without", two_factor=None)


@pytest.mark.parametrize("path", [SETUP, ENABLE, DISABLE, RENEW, SECOND_STEP])
def test_call_of_a_feature_that_is_off_costs_no_statement(without: RecordedService, path: str) -> None:
    body: dict[str, Any] = {"password": without.ada.password, "code": WRONG_CODE, "ticket": "x"}

    assert without.statements_of_a_refusal(lambda: without.ada.send("POST", path, body)) == []


def test_limit_of_codes_is_charged_without_the_other_limits(record: Callable[..., RecordedService]) -> None:
    unlimited = record("unlimited", rate_limits=False)
    app = App.scanning(set_up(unlimited.ada).get_json())

    statements = unlimited.statements(lambda: enable(unlimited.ada, app.code()))

    assert verbs(statements) == ["WITH", CHARGE, SETTLE, "BEGIN", "SELECT", "WITH", "COMMIT"]
