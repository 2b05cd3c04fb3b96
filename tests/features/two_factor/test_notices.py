"""The mails that tell a user what has happened to the second factor."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from auth.mail.sender import Sender
from tests.support.actor import Actor, ClientOf
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings
from tests.support.notices import details, notices
from tests.support.second_factors import (
    WRONG_CODE,
    App,
    disable,
    enable,
    enrol,
    renew,
    second_step,
    set_up,
    ticket_of,
)
from tests.support.throttling import HOME, client_at

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ON, OFF, USED = "two_factor_on", "two_factor_off", "recovery_code_used"
Act = Callable[[Actor, App], Any]


@pytest.fixture
def service(client_of: ClientOf) -> Flask:
    """A service that sends mail."""
    return client_of(mail=mail_settings()).application


@pytest.fixture
def user(service: Flask, sql: Sql) -> Actor:
    """Ada at home, in Firefox, with an empty outbox."""
    client = client_at(service, HOME)
    client.environ_base["HTTP_USER_AGENT"] = FIREFOX
    user = Actor(client).register()
    sql("DELETE FROM auth_outbox")
    return user


@pytest.fixture
def phone(user: Actor, sql: Sql) -> App:
    app = enrol(user, sql)
    sql("DELETE FROM auth_outbox")
    return app


def log_in_by_recovery_code(user: Actor, phone: App) -> Any:
    return second_step(user.client, ticket_of(user), recovery_code=phone.recovery_codes[0])


def rename(user: Actor, **code: str) -> Any:
    return user.change_profile(username="countess", current_password=user.password, **code)


CASES = [
    pytest.param(lambda user, phone: disable(user, code=phone.code()), [OFF], id="disable"),
    pytest.param(
        lambda user, phone: disable(user, recovery_code=phone.recovery_codes[0]),
        [USED, OFF],
        id="disable by recovery code",
    ),
    pytest.param(log_in_by_recovery_code, [USED], id="login by recovery code"),
    pytest.param(
        lambda user, phone: user.change_password(recovery_code=phone.recovery_codes[0]),
        [USED, "password_changed"],
        id="password by recovery code",
    ),
    pytest.param(
        lambda user, phone: rename(user, recovery_code=phone.recovery_codes[0]),
        [USED],
        id="username by recovery code",
    ),
    pytest.param(lambda user, phone: rename(user, code=phone.code()), [], id="username"),
    pytest.param(
        lambda user, phone: second_step(user.client, ticket_of(user), code=phone.code()), [], id="login"
    ),
    pytest.param(lambda user, phone: renew(user, code=phone.code()), [], id="new recovery codes"),
]


@pytest.fixture
def woken(service: Flask, monkeypatch: pytest.MonkeyPatch, sql: Sql) -> list[int]:
    """How many notices waited, each time the sender of `service` was woken."""
    counts: list[int] = []
    monkeypatch.setattr(Sender, "wake", lambda _: counts.append(len(notices(sql))))
    service.extensions["auth"] = replace(service.extensions["auth"], sender=Sender.__new__(Sender))
    return counts


@pytest.mark.parametrize(("act", "kinds"), CASES)
def test_notice_tells_time_address_and_device_and_wakes_the_sender(
    service: Flask, user: Actor, phone: App, sql: Sql, woken: list[int], act: Act, kinds: list[str]
) -> None:
    woken.clear()

    answer = act(user, phone)

    assert answer.status_code in (200, 204)
    assert notices(sql) == [(kind, user.id, user.email) for kind in kinds]
    for kind, told in zip(kinds, details(sql), strict=True):
        assert told.pop("time").endswith(" UTC")
        left = {"left": "9"} if kind == USED else {}
        assert told == {"ip": HOME, "device": "Firefox on Linux"} | left
    assert (woken[-1:] or [0]) == [len(kinds)]
    assert [letter.kind for letter in letters(service)] == kinds


def test_enabling_mails_the_user_and_a_setup_nobody(user: Actor, sql: Sql, woken: list[int]) -> None:
    setup = set_up(user).get_json()
    before = notices(sql)

    assert enable(user, App.scanning(setup).code()).status_code == 200

    assert before == []
    assert notices(sql) == [(ON, user.id, user.email)]
    assert details(sql)[0].keys() == {"time", "ip", "device"}
    assert woken == [1]


@pytest.mark.parametrize(("act", "kinds"), CASES)
def test_notice_remembers_that_the_address_was_verified(
    user: Actor, phone: App, sql: Sql, act: Act, kinds: list[str]
) -> None:
    sql("INSERT INTO auth_emails SELECT id, email FROM users")

    act(user, phone)

    assert [told.get("was_verified") for told in details(sql)] == ["yes"] * len(kinds)


@pytest.mark.parametrize(("act", "kinds"), CASES)
def test_without_mail_nothing_is_queued(app: Flask, sql: Sql, act: Act, kinds: list[str]) -> None:
    user = Actor(app.test_client()).register()
    sql("DELETE FROM auth_outbox")
    phone = enrol(user, sql)

    assert act(user, phone).status_code in (200, 204)

    assert notices(sql) == []


def test_failures_mail_nobody(user: Actor, phone: App, sql: Sql) -> None:
    enable(user, WRONG_CODE)
    disable(user, recovery_code="0AAAA-AAAAA")
    second_step(user.client, ticket_of(user), code=WRONG_CODE)
    rename(user, code=WRONG_CODE)

    assert notices(sql) == []


def test_recovery_code_that_was_used_before_mails_nobody(user: Actor, phone: App, sql: Sql) -> None:
    log_in_by_recovery_code(user, phone)

    log_in_by_recovery_code(user, phone)

    assert [kind for kind, _, _ in notices(sql)] == [USED]
