"""The mail about a login from a device that the account does not know."""

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.passwords import PasswordHasher
from auth.throttling import attempts
from tests.support import PASSWORD
from tests.support.actor import Actor, ClientOf
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings
from tests.support.notices import details, notices
from tests.support.rows import elapse, session_ids
from tests.support.throttling import ELSEWHERE, HOME, client_at, codes, guess

PROXY = "10.0.0.1"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NOTICE = [("new_device", 1, "ada@example.com")]


@pytest.fixture
def service(client_of: ClientOf, sql: Sql) -> Flask:
    """A service that sends mail, with an empty outbox."""
    sql("DELETE FROM auth_outbox")
    return client_of(mail=mail_settings()).application


@pytest.fixture
def home(service: Flask) -> FlaskClient:
    """Ada's browser, in which she has registered at home."""
    browser = client_at(service, HOME)
    Actor(browser).register()
    letters(service)  # without the mail that verifies the address
    return browser


def log_in_at(service: Flask, address: str) -> list[str]:
    return codes(guess(client_at(service, address), password=PASSWORD))


def test_login_from_a_new_device_mails_the_user(service: Flask, home: FlaskClient, sql: Sql) -> None:
    stranger = client_at(service, ELSEWHERE)
    stranger.environ_base["HTTP_USER_AGENT"] = FIREFOX

    guess(stranger, password=PASSWORD)

    assert notices(sql) == NOTICE
    [told] = details(sql)
    [(opened_at,)] = sql(
        "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC'"
        " FROM auth_sessions ORDER BY id DESC LIMIT 1"
    )
    assert told == {"time": opened_at, "ip": ELSEWHERE, "device": "Firefox on Linux"}
    [letter] = letters(service)
    assert (letter.kind, letter.recipient, letter.link) == ("new_device", "ada@example.com", "")


def test_neither_registration_nor_a_change_of_the_password_is_a_new_device(service: Flask, sql: Sql) -> None:
    ada = Actor(client_at(service, HOME)).register()

    answer = ada.through(client_at(service, ELSEWHERE)).change_password()

    assert answer.status_code == 200
    assert [kind for kind, _, _ in notices(sql) if kind == "new_device"] == []


@pytest.mark.parametrize("address", [HOME, ELSEWHERE])
def test_device_with_a_cookie_is_known_at_any_address(home: FlaskClient, sql: Sql, address: str) -> None:
    home.environ_base["REMOTE_ADDR"] = address

    assert codes(guess(home, password=PASSWORD)) == [""]
    assert notices(sql) == []


def test_device_is_known_from_its_first_login_on(service: Flask, home: FlaskClient, sql: Sql) -> None:
    laptop = client_at(service, ELSEWHERE)

    guess(laptop, 2, password=PASSWORD)
    laptop.environ_base["REMOTE_ADDR"] = "203.0.113.5"
    guess(laptop, password=PASSWORD)

    assert notices(sql) == NOTICE


def test_cookie_of_another_user_makes_no_known_device(service: Flask, home: FlaskClient, sql: Sql) -> None:
    Actor(home, "bob").register()  # a browser has one cookie: it is bob's now
    home.environ_base["REMOTE_ADDR"] = ELSEWHERE

    guess(home, password=PASSWORD)

    assert notices(sql) == NOTICE


@pytest.mark.parametrize(
    ("first", "second", "is_new"),
    [
        pytest.param(HOME, HOME, False, id="IPv4"),
        pytest.param("192.0.2.1", "192.0.2.2", True, id="IPv4 in full"),
        pytest.param(HOME, f"::ffff:{HOME}", False, id="IPv4-mapped"),
        pytest.param("2001:db8:0:1::1", "2001:db8:0:1:f::9", False, id="a /64"),
        pytest.param("2001:db8:0:1::1", "2001:db8:0:2::1", True, id="two /64"),
        pytest.param("", "", True, id="no address, such as a Unix socket"),
    ],
)
def test_device_is_known_by_the_network_of_a_live_session(
    service: Flask, sql: Sql, first: str, second: str, is_new: bool
) -> None:
    Actor(client_at(service, first)).register()

    assert log_in_at(service, second) == [""]

    assert notices(sql) == (NOTICE if is_new else [])


def test_address_of_a_session_that_is_over_is_new(service: Flask, home: FlaskClient, sql: Sql) -> None:
    elapse(sql, 15 * 86400)

    log_in_at(service, HOME)

    assert notices(sql) == NOTICE


@pytest.mark.parametrize(
    ("forwarded", "is_new"),
    [("203.0.113.9", False), ("192.0.2.50, 203.0.113.9", False), ("203.0.113.9, 192.0.2.50", True)],
)
def test_behind_a_proxy_the_address_that_it_saw_counts(
    client_of: ClientOf, service: Flask, sql: Sql, forwarded: str, is_new: bool
) -> None:
    service = client_of(mail=mail_settings(), trusted_proxies=1).application
    first, second = client_at(service, PROXY), client_at(service, PROXY)
    first.environ_base["HTTP_X_FORWARDED_FOR"] = "203.0.113.9"
    second.environ_base["HTTP_X_FORWARDED_FOR"] = forwarded
    Actor(first).register()

    guess(second, password=PASSWORD)

    assert [told["ip"] for told in details(sql)] == (["192.0.2.50"] if is_new else [])


def test_without_limits_the_notice_works_and_the_cookie_is_set(
    client_of: ClientOf, service: Flask, sql: Sql
) -> None:
    service = client_of(mail=mail_settings(), rate_limits=False).application
    Actor(client_at(service, HOME)).register()
    laptop = client_at(service, ELSEWHERE)

    guess(laptop, password=PASSWORD)
    laptop.environ_base["REMOTE_ADDR"] = "203.0.113.5"
    guess(laptop, password=PASSWORD)
    log_in_at(service, HOME)

    assert notices(sql) == NOTICE


def test_without_mail_nobody_asks_whether_a_device_is_known(
    app: Flask, ada: Actor, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql("DELETE FROM auth_outbox")
    monkeypatch.delattr(attempts, "is_known")

    assert log_in_at(app, ELSEWHERE) == [""]

    assert notices(sql) == []


def test_wrong_password_is_no_login(service: Flask, home: FlaskClient, sql: Sql) -> None:
    guess(client_at(service, ELSEWHERE), 3)

    assert notices(sql) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE users SET password = password || ' '", id="hash replaced"),
        pytest.param("DELETE FROM users", id="user deleted"),
    ],
)
def test_login_that_opens_no_session_mails_nobody(
    service: Flask, home: FlaskClient, sql: Sql, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Race (TOCTOU): the password was right, and the user changes before the session is opened."""
    verify = PasswordHasher.verify

    def verify_and_change(self: PasswordHasher, *args: Any) -> bool:
        is_right = verify(self, *args)
        sql(change)
        return is_right

    monkeypatch.setattr(PasswordHasher, "verify", verify_and_change)
    before = session_ids(sql)

    answers = guess(client_at(service, ELSEWHERE), password=PASSWORD)

    assert codes(answers) == ["invalid_credentials"]
    assert set(session_ids(sql)) <= set(before)
    assert notices(sql) == []


def test_sender_wakes_once_the_notice_is_stored(service: Flask, home: FlaskClient, sql: Sql) -> None:
    seen = []

    class Sleeper:
        def wake(self) -> None:
            seen.append(notices(sql))

    service.extensions["auth"] = replace(service.extensions["auth"], sender=Sleeper())

    guess(home, password=PASSWORD)
    log_in_at(service, ELSEWHERE)

    assert seen == [NOTICE]
