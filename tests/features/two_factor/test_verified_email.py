"""REQUIRE_VERIFIED_EMAIL with a second factor: the email comes first, and no ticket before it."""

import pytest
from flask.testing import FlaskClient

from tests.support.actor import WRONG_PASSWORD, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.mails import mail_settings
from tests.support.second_factors import App, enrol, first_step, second_step, ticket_of

TICKETS = "SELECT count(*) FROM auth_tickets"


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """The app of ada, whose second factor is in force, and whose email is not verified."""
    return enrol(ada, sql)


@pytest.fixture
def strict(client_of: ClientOf) -> FlaskClient:
    return client_of(mail=mail_settings(require_verified_email=True))


def test_unverified_email_is_403_without_a_ticket(
    ada: Actor, phone: App, strict: FlaskClient, sql: Sql
) -> None:
    answer = first_step(ada, strict)

    assert refusal(answer) == (403, "email_not_verified", None)
    assert "Set-Cookie" not in answer.headers
    assert sql(TICKETS) == [(0,)]


def test_wrong_password_tells_nothing_of_the_email(ada: Actor, phone: App, strict: FlaskClient) -> None:
    answer = ada.through(strict).try_log_in(password=WRONG_PASSWORD)

    assert refusal(answer) == (401, "invalid_credentials", "Bearer")


def test_verified_email_leads_to_the_second_step(
    ada: Actor, phone: App, strict: FlaskClient, sql: Sql
) -> None:
    sql("INSERT INTO auth_emails SELECT id, email FROM users")

    answer = second_step(strict, ticket_of(ada, strict), code=phone.code())

    assert answer.status_code == 200
    assert answer.get_json()["user"]["email_verified"] is True
