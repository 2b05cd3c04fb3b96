"""The mail about a new device: at the second step, because the first one opens no session."""

from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.actor import Actor, ClientOf
from tests.support.database import Sql
from tests.support.mails import mail_settings
from tests.support.notices import details, notices
from tests.support.second_factors import App, enrol, forget_steps, log_in, second_step, ticket_of
from tests.support.throttling import ELSEWHERE, HOME, client_at

NEW_DEVICE = ("new_device", 1, "ada@example.com")
RECOVERY_CODE_USED = ("recovery_code_used", 1, "ada@example.com")


@pytest.fixture
def service(client_of: ClientOf) -> Flask:
    """A service that sends mail."""
    return client_of(mail=mail_settings()).application


@pytest.fixture
def ada(service: Flask) -> Actor:
    """Ada at home, in the browser in which she has registered."""
    return Actor(client_at(service, HOME)).register()


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """Ada's authenticator app, whose second factor is in force, with an empty outbox."""
    phone = enrol(ada, sql)
    sql("DELETE FROM auth_outbox")
    return phone


@pytest.fixture
def stranger(service: Flask) -> FlaskClient:
    return client_at(service, ELSEWHERE)


def test_notice_comes_with_the_second_step(ada: Actor, phone: App, stranger: FlaskClient, sql: Sql) -> None:
    ticket = ticket_of(ada, stranger)
    after_the_first = notices(sql)

    answer = second_step(stranger, ticket, code=phone.code())

    assert answer.status_code == 200
    assert (after_the_first, notices(sql)) == ([], [NEW_DEVICE])
    assert details(sql)[0]["ip"] == ELSEWHERE


@pytest.mark.parametrize("known_by", ["cookie", "address"])
def test_known_device_gets_no_notice(service: Flask, ada: Actor, phone: App, sql: Sql, known_by: str) -> None:
    client = client_at(service, HOME)
    if known_by == "cookie":
        client = ada.client  # type: ignore[assignment]
        client.environ_base["REMOTE_ADDR"] = ELSEWHERE

    assert log_in(ada, phone.code(), client).status_code == 200
    assert notices(sql) == []


def test_device_is_known_from_its_first_second_step_on(
    ada: Actor, phone: App, stranger: FlaskClient, sql: Sql
) -> None:
    ticket_of(ada, stranger)  # the first step alone makes no known device
    log_in(ada, phone.code(), stranger)
    forget_steps(sql)
    stranger.environ_base["REMOTE_ADDR"] = "203.0.113.5"

    assert log_in(ada, phone.code(), stranger).status_code == 200
    assert notices(sql) == [NEW_DEVICE]


def test_refused_code_mails_nobody(ada: Actor, phone: App, stranger: FlaskClient, sql: Sql) -> None:
    code = phone.code()
    log_in(ada, code)
    ticket = ticket_of(ada, stranger)

    second_step(stranger, ticket, code=code)
    second_step(stranger, ticket, recovery_code="0aaaaa-aaaaaa")

    assert notices(sql) == []


def test_used_recovery_code_is_a_notice_of_its_own(
    ada: Actor, phone: App, stranger: FlaskClient, sql: Sql
) -> None:
    second_step(ada.client, ticket_of(ada), recovery_code=phone.recovery_codes[0])
    second_step(stranger, ticket_of(ada, stranger), recovery_code=phone.recovery_codes[1])

    assert notices(sql) == [RECOVERY_CODE_USED, NEW_DEVICE, RECOVERY_CODE_USED]


def test_sender_wakes_if_there_is_a_notice(
    service: Flask, ada: Actor, phone: App, stranger: FlaskClient, sql: Sql
) -> None:
    seen = []

    class Sleeper:
        def wake(self) -> None:
            seen.append(notices(sql))

    service.extensions["auth"] = replace(service.extensions["auth"], sender=Sleeper())

    log_in(ada, phone.code())
    assert seen == []
    second_step(ada.client, ticket_of(ada), recovery_code=phone.recovery_codes[0])
    forget_steps(sql)
    log_in(ada, phone.code(), stranger)

    assert seen == [[RECOVERY_CODE_USED], [RECOVERY_CODE_USED, NEW_DEVICE]]


def test_without_mail_there_is_no_notice(app: Flask, ada: Actor, phone: App, sql: Sql) -> None:
    silent = client_at(app, ELSEWHERE)

    second_step(silent, ticket_of(ada, silent), recovery_code=phone.recovery_codes[0])

    assert notices(sql) == []
