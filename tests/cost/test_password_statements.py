"""How many statements a forgotten password costs, whoever has the address, and a change of the password."""

import re
from collections.abc import Callable
from functools import partial

import pytest

from auth.throttling import keys
from tests.support import SECRET_KEY
from tests.support.actor import Actor
from tests.support.database import run_sql
from tests.support.mails import mail_settings
from tests.support.recorder import RecordedService
from tests.support.resets import forget, new_token, reset


@pytest.fixture(scope="module")
def recorded(record: Callable[..., RecordedService]) -> RecordedService:
    return record("mailing", mail=mail_settings())


def tables(statements: list[str]) -> list[str]:
    """Return what each statement writes or reads first: its verb and its table. Subqueries do not count."""
    texts = [re.sub(r"\(SELECT (?:ARRAY|enabled_at).*?\)", "", each) for each in statements]
    found = [
        re.search(r"(INSERT INTO|UPDATE|DELETE FROM|FROM) (\w+)", each) or re.match(r"()(\w+)", each)
        for each in texts
    ]
    return [f"{each[1]} {each[2]}".strip() for each in found if each]


@pytest.mark.parametrize("name", ["nobody", "unverified", "verified", "used-up"])
def test_forgotten_password_costs_one_charge_and_one_mail(recorded: RecordedService, name: str) -> None:
    email = f"{name}@example.com"
    if name != "nobody":
        Actor(recorded.ada.client, name).register()
    if name == "verified":
        run_sql(recorded.url, "INSERT INTO auth_emails SELECT id, email FROM users WHERE username = %s", name)
    if name == "used-up":
        key = keys.mailbox(email, key=SECRET_KEY)
        run_sql(recorded.url, "INSERT INTO auth_throttle (key, full_at) VALUES (%s, 'infinity')", key)

    statements = recorded.statements(partial(forget, recorded.app.test_client(), email))

    assert tables(statements) == ["INSERT INTO auth_throttle", "INSERT INTO auth_outbox"]


def test_reset_is_two_selects_and_one_transaction(recorded: RecordedService) -> None:
    client = recorded.app.test_client()
    run_sql(recorded.url, "DELETE FROM auth_outbox")
    token = new_token(client)

    statements = recorded.statements(partial(reset, client, token))

    assert tables(statements) == [
        "FROM auth_one_time_tokens",
        "FROM users",
        "BEGIN",
        "UPDATE users",
        "FROM auth_sessions",
        "UPDATE auth_one_time_tokens",
        "DELETE FROM auth_one_time_tokens",
        "DELETE FROM auth_second_factors",
        "INSERT INTO auth_emails",
        "INSERT INTO auth_outbox",
        "FROM auth_throttle",
        "COMMIT",
    ]


def test_refused_reset_is_one_select_and_one_charge(recorded: RecordedService) -> None:
    statements = recorded.statements_of_a_refusal(partial(reset, recorded.app.test_client(), "x"))

    assert tables(statements) == ["FROM auth_one_time_tokens", "INSERT INTO auth_throttle"]


def test_without_limits_no_call_touches_the_budgets(record: Callable[..., RecordedService]) -> None:
    unlimited = record("unlimited_mail", mail=mail_settings(), rate_limits=False)
    client = unlimited.app.test_client()

    statements = unlimited.statements(partial(forget, client, "nobody@example.com"))
    statements += unlimited.statements(partial(reset, client, new_token(client)))
    statements += unlimited.statements_of_a_refusal(partial(reset, client, "x"))

    assert "auth_throttle" not in str(statements)


@pytest.mark.parametrize("has_mail", [True, False], ids=["mail on", "mail off"])
def test_password_change_ends_links_in_its_transaction(
    recorded: RecordedService, record: Callable[..., RecordedService], has_mail: bool
) -> None:
    service = recorded if has_mail else record("silent")
    user = Actor(service.ada.client, "grace").register()

    written = tables(service.statements(user.change_password))

    in_transaction = written[written.index("BEGIN") :]
    assert in_transaction[3:5] == ["DELETE FROM auth_one_time_tokens", "UPDATE auth_emails"]
    assert ("INSERT INTO auth_outbox" in in_transaction) == has_mail


def test_service_without_mail_answers_without_a_statement(record: Callable[..., RecordedService]) -> None:
    silent = record("without_mail")
    client = silent.app.test_client()

    statements = silent.statements_of_a_refusal(partial(forget, client))
    statements += silent.statements_of_a_refusal(partial(reset, client, "x"))

    assert statements == []
