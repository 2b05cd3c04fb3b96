"""How many statements, and so round trips, each call costs."""

import re
from collections.abc import Callable
from functools import partial

import pytest
from flask.testing import FlaskClient

from tests.support.actor import WRONG_PASSWORD, Actor
from tests.support.database import run_sql
from tests.support.mails import mail_settings
from tests.support.recorder import RecordedService
from tests.support.second_factors import enrol, first_step, second_step, ticket_of
from tests.support.throttling import ELSEWHERE, client_at, guess
from tests.support.verification import change_email, new_token, resend, verify


@pytest.fixture(scope="module")
def recorded(record: Callable[..., RecordedService]) -> RecordedService:
    return record("recorded")


@pytest.fixture(scope="module")
def mailing(record: Callable[..., RecordedService]) -> RecordedService:
    return record("mailing", mail=mail_settings())


# The messages of throttling.
CHARGE, REFUSED, SETTLE = "charge", "refused", "settle"


def verbs(statements: list[str]) -> list[str]:
    return [verb(statement) for statement in statements]


def verb(statement: str) -> str:
    if "auth_throttle" in statement:
        if statement.startswith("INSERT"):
            return CHARGE
        return REFUSED if "-infinity" in statement else SETTLE
    return statement.split()[0]


def profile_statements(statements: list[str]) -> list[list[str]]:
    """Return which statements of a profile change each text holds; common table expressions precede them."""
    pattern = r"^SELECT (?:users\.id|password)|UPDATE users"
    return [
        [verb(text)] if "auth_throttle" in text else re.findall(pattern, text)
        for text in (" ".join(statement.split()) for statement in statements)
    ]


def test_register_is_one_transaction(recorded: RecordedService) -> None:
    bob = Actor(recorded.ada.client, "bob")

    statements = recorded.statements(bob.register)

    assert verbs(statements) == [CHARGE, "BEGIN", "INSERT", "INSERT", "WITH", "COMMIT"]


def test_register_with_mail_is_one_insert_more(mailing: RecordedService) -> None:
    statements = mailing.statements(Actor(mailing.ada.client, "bob").register)

    assert verbs(statements) == [CHARGE, "BEGIN", "INSERT", "INSERT", "WITH", "INSERT", "COMMIT"]


def test_verification_is_one_look_up_and_one_transaction(mailing: RecordedService) -> None:
    eve, client = Actor(mailing.ada.client, "eve").register(), mailing.ada.client
    token = new_token(mailing.app)
    first = mailing.statements(lambda: verify(client, token))
    change_email(eve)
    token = new_token(mailing.app)
    change = mailing.statements(lambda: verify(client, token))
    refusal = mailing.statements_of_a_refusal(lambda: verify(client, token))

    head = ["SELECT", "BEGIN", "SELECT", "SELECT", "UPDATE"]
    assert verbs(first) == [*head, "INSERT", "COMMIT"]
    assert verbs(change) == [*head, "UPDATE", "DELETE", "INSERT", "INSERT", "COMMIT"]
    assert verbs(refusal) == ["SELECT", CHARGE]


def test_resend_is_one_charge_and_one_statement(mailing: RecordedService) -> None:
    assert verbs(mailing.statements(lambda: resend(mailing.ada))) == [CHARGE, "WITH"]


def test_change_of_the_email_with_mail_is_one_transaction(mailing: RecordedService) -> None:
    user = Actor(mailing.ada.client, "grace").register()

    change = mailing.statements(lambda: change_email(user, "grace@example.org"))
    name = mailing.statements(lambda: user.change_profile(first_name="Grace"))

    assert verbs(change) == [
        *["SELECT", CHARGE, "SELECT", CHARGE, SETTLE],
        # The first SELECT looks for a second factor that was enabled meanwhile.
        *["BEGIN", "WITH", "SELECT", "DELETE", "SELECT", "INSERT", "SELECT", "COMMIT"],
    ]
    assert verbs(name) == ["SELECT", "WITH"]


def test_features_cost_no_statement(recorded: RecordedService) -> None:
    client = recorded.ada.client

    assert (
        recorded.statements(lambda: client.open("/api/auth/features", method="GET", json=None, headers={}))
        == []
    )


@pytest.mark.parametrize("known_by", ["cookie", "address", "nothing"])
def test_login_is_one_select_two_for_the_limits_and_one_transaction(
    recorded: RecordedService, known_by: str
) -> None:
    client = client_at(recorded.app, "127.0.0.1" if known_by == "address" else ELSEWHERE)
    browser = recorded.ada.through(recorded.ada.client if known_by == "cookie" else client)

    statements = recorded.statements(browser.try_log_in)

    assert verbs(statements) == ["SELECT", CHARGE, SETTLE, "BEGIN", "INSERT", "WITH", "COMMIT"]


def test_second_factor_is_one_insert_and_three_selects_more(recorded: RecordedService) -> None:
    eve, client = Actor(recorded.ada.client, "eve").register(), recorded.ada.client
    phone = enrol(eve)
    ticket = ticket_of(eve)

    first = recorded.statements_of_a_refusal(lambda: first_step(eve))
    refusal = recorded.statements_of_a_refusal(lambda: second_step(client, ticket, code="1"))
    second = recorded.statements(lambda: second_step(client, ticket, code=phone.code(steps=1)))
    unknown = recorded.statements_of_a_refusal(lambda: second_step(client, ticket, code="1"))

    assert verbs(first) == ["SELECT", CHARGE, SETTLE, "INSERT"]
    assert verbs(refusal) == ["SELECT", "SELECT", "SELECT", CHARGE]
    assert verbs(second) == [
        *["SELECT", "SELECT", "SELECT", CHARGE, SETTLE],
        *["BEGIN", "INSERT", "WITH", "DELETE", "UPDATE", "COMMIT"],
    ]
    assert verbs(unknown) == ["SELECT", CHARGE]


def test_switched_off_second_factor_costs_no_statement(record: Callable[..., RecordedService]) -> None:
    off = record("no_second_factor", two_factor=None)

    login, change = off.statements(off.ada.try_log_in), off.statements(off.ada.change_password)
    refusal = off.statements_of_a_refusal(lambda: second_step(off.ada.client, "x", code="1"))

    assert verbs(login) == ["SELECT", CHARGE, SETTLE, "BEGIN", "INSERT", "WITH", "COMMIT"]
    assert "auth_tickets" not in str([login, change])
    assert refusal == []


def test_switched_off_limits_cost_no_statement(record: Callable[..., RecordedService]) -> None:
    unlimited = record("unlimited", rate_limits=False)
    bob = Actor(unlimited.ada.client, "bob")

    registration, login = (unlimited.statements(call) for call in (bob.register, bob.try_log_in))
    refusals = unlimited.statements_of_a_refusal(lambda: bob.try_log_in(password=WRONG_PASSWORD))
    refusals += unlimited.statements_of_a_refusal(lambda: bob.try_refresh("A" * 64))
    change = unlimited.statements(bob.change_password)

    assert verbs(registration) == ["BEGIN", "INSERT", "INSERT", "WITH", "COMMIT"]
    assert verbs(login) == ["SELECT", "BEGIN", "INSERT", "WITH", "COMMIT"]
    assert "auth_throttle" not in str([refusals, change])


def guess_once(stranger: FlaskClient, name: str) -> object:
    return guess(stranger, username=name)[0]


@pytest.mark.parametrize(
    ("guesses_before", "expected"),
    [
        pytest.param(0, ["SELECT", CHARGE], id="before the limit"),
        pytest.param(9, ["SELECT", CHARGE], id="at the limit"),
        pytest.param(10, ["SELECT", CHARGE, REFUSED], id="beyond the limit"),
    ],
)
def test_refused_login_costs_the_same_statements_whether_the_account_exists(
    recorded: RecordedService, guesses_before: int, expected: list[str]
) -> None:
    run_sql(recorded.url, "DELETE FROM auth_throttle")
    stranger = client_at(recorded.app, "203.0.113.5")  # no test has logged in there
    texts = []
    for name in ("ada", "nobody"):
        guess(stranger, guesses_before, username=name)
        statements = recorded.statements_of_a_refusal(partial(guess_once, stranger, name))
        assert verbs(statements) == expected
        values = r"'[^']*'(?:::\w+)?|\d+"
        texts.append([re.sub(values, "?", statement) for statement in statements])

    assert texts[0] == texts[1]


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

    assert profile_statements(statements) == [["SELECT users.id"], ["UPDATE users"]]


def test_change_of_the_username_reads_the_password_in_between(recorded: RecordedService) -> None:
    user = Actor(recorded.ada.client, "grace").register()

    statements = recorded.statements(
        lambda: user.change_profile(username="countess", current_password=user.password)
    )

    assert profile_statements(statements) == [
        ["SELECT users.id"],
        ["SELECT password"],
        [CHARGE],
        [SETTLE],
        [],  # BEGIN
        ["UPDATE users"],
        [],  # looks for a second factor that was enabled meanwhile
        [],  # COMMIT
    ]


def test_change_to_the_same_name_is_one_select(recorded: RecordedService) -> None:
    recorded.ada.change_profile(first_name="Augusta")

    statements = recorded.statements(lambda: recorded.ada.change_profile(first_name="Augusta"))

    assert profile_statements(statements) == [["SELECT users.id"]]


def test_refresh_is_one_statement(recorded: RecordedService) -> None:
    user = recorded.ada.elsewhere()

    statements = recorded.statements(user.refresh)

    assert verbs(statements) == ["UPDATE"]


def test_refresh_of_an_unknown_token_is_charged_once(recorded: RecordedService) -> None:
    statements = recorded.statements_of_a_refusal(lambda: recorded.ada.try_refresh("A" * 64))

    assert verbs(statements) == ["UPDATE", "SELECT", CHARGE]


def test_logout_is_one_statement(recorded: RecordedService) -> None:
    user = recorded.ada.elsewhere()

    statements = recorded.statements(user.log_out)

    assert verbs(statements) == ["DELETE"]


@pytest.mark.parametrize(("known_by", "notice"), [("cookie", []), ("address", []), ("nothing", ["INSERT"])])
def test_with_mail_on_the_notice_of_a_new_device_is_one_statement_of_that_transaction(
    mailing: RecordedService, known_by: str, notice: list[str]
) -> None:
    client = client_at(mailing.app, "127.0.0.1" if known_by == "address" else "203.0.113.9")
    browser = mailing.ada.through(mailing.ada.client if known_by == "cookie" else client)

    statements = mailing.statements(browser.try_log_in)

    assert verbs(statements) == ["SELECT", CHARGE, SETTLE, "BEGIN", "INSERT", "WITH", *notice, "COMMIT"]


@pytest.mark.parametrize("name", ["ada", "nobody"])
@pytest.mark.parametrize(("service", "notice"), [("recorded", []), ("mailing", ["INSERT"])])
def test_failure_that_begins_a_lock_costs_the_same_statements_whether_the_account_exists(
    request: pytest.FixtureRequest, service: str, notice: list[str], name: str
) -> None:
    recorded: RecordedService = request.getfixturevalue(service)
    run_sql(recorded.url, "DELETE FROM auth_throttle")
    stranger = client_at(recorded.app, "203.0.113.5")
    guess(stranger, username=name)
    run_sql(recorded.url, "UPDATE auth_throttle SET failures = 99 WHERE failures > 0")

    statements = recorded.statements_of_a_refusal(partial(guess_once, stranger, name))

    assert verbs(statements) == ["SELECT", CHARGE, *notice]
