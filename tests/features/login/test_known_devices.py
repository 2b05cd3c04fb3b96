"""Known devices: by the cookie, or by the address of a live session. Strangers cannot lock them out."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from runtime.settings import Rate
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import LOGIN, Actor, ClientOf
from tests.support.database import Sql
from tests.support.rows import elapse as elapse_sessions
from tests.support.throttling import ELSEWHERE, HOME, client_at, codes, elapse, guess, keys

FAILED, REFUSED = "invalid_credentials", "too_many_attempts"


@pytest.fixture
def service(client_of: ClientOf) -> Flask:
    """A service with limits that nothing refills, and a lock after 5 failures."""
    return client_of(
        limit_account_failures=Rate(3, "31d"), limit_device_failures=Rate(3, "31d"), lockout_failures=5
    ).application


@pytest.fixture
def home(service: Flask) -> FlaskClient:
    """Ada's browser, in which she has registered at home."""
    browser = client_at(service, HOME)
    Actor(browser).register()
    return browser


@pytest.fixture
def besieged(home: FlaskClient, service: Flask, sql: Sql) -> Flask:
    """The service after strangers at 10 addresses have locked the account."""
    for number in range(10):
        guess(client_at(service, f"203.0.113.{number}"))
        elapse(sql, 31 * 86400)
    assert sql("SELECT locked FROM auth_throttle WHERE key = 'account 1 strangers'") == [(True,)]
    return service


def at(browser: FlaskClient, address: str) -> FlaskClient:
    """Carry a browser to another address."""
    browser.environ_base["REMOTE_ADDR"] = address
    return browser


def test_stranger_is_refused_while_the_account_is_locked(besieged: Flask) -> None:
    [answer] = guess(client_at(besieged), password=PASSWORD)

    assert (answer.status_code, answer.get_json()["code"]) == (429, REFUSED)
    assert answer.headers["Retry-After"] == str(answer.get_json()["retry_after"]) == "3600"


def test_known_device_logs_in_at_any_address_while_the_account_is_locked(
    besieged: Flask, home: FlaskClient
) -> None:
    assert codes(guess(at(home, ELSEWHERE), password=PASSWORD)) == [""]


def test_known_device_logs_in_although_nobody_else_at_the_address_may(
    client_of: ClientOf, service: Flask, home: FlaskClient
) -> None:
    strict = client_of(limit_address_failures=Rate(1, "31d")).application
    guess(client_at(strict, ELSEWHERE), username="nobody")
    at(home, ELSEWHERE).application = strict

    assert codes(guess(client_at(strict, ELSEWHERE), password=PASSWORD)) == ["rate_limited"]
    assert codes(guess(home, password=PASSWORD)) == [""]


def test_address_of_a_live_session_logs_in_without_a_cookie_while_the_account_is_locked(
    besieged: Flask,
) -> None:
    assert codes(guess(client_at(besieged, HOME), password=PASSWORD)) == [""]


def test_address_of_a_session_that_has_ended_is_a_strangers(besieged: Flask, sql: Sql) -> None:
    elapse_sessions(sql, 15 * 86400)

    assert codes(guess(client_at(besieged, HOME), password=PASSWORD)) == [REFUSED]


def test_address_is_not_known_to_another_account(besieged: Flask, sql: Sql) -> None:
    bob = Actor(client_at(besieged, "192.0.2.2"), "bob").register()

    assert codes(guess(at(client_at(besieged), "192.0.2.2"), password=bob.password)) == [REFUSED]


@pytest.mark.parametrize("known_by", ["cookie", "address"])
def test_login_from_a_known_device_ends_the_lock_and_keeps_the_strangers_budget(
    besieged: Flask, home: FlaskClient, sql: Sql, known_by: str
) -> None:
    sql("UPDATE auth_throttle SET full_at = now() + interval '31 days' WHERE key LIKE '%strangers'")
    locked = guess(client_at(besieged))

    guess(home if known_by == "cookie" else client_at(besieged, HOME), password=PASSWORD)

    answers = guess(client_at(besieged), 1)
    elapse(sql, 21 * 86400)
    answers += guess(client_at(besieged), 3)
    assert locked[0].get_json()["retry_after"] == 3600
    assert answers[0].get_json()["retry_after"] > 3600
    assert codes(answers) == [REFUSED, FAILED, FAILED, REFUSED]


def test_failure_of_a_known_device_ends_no_lock(besieged: Flask, home: FlaskClient) -> None:
    assert codes(guess(home) + guess(client_at(besieged, HOME))) == [FAILED, FAILED]
    assert codes(guess(client_at(besieged), password=PASSWORD)) == [REFUSED]


def test_device_has_a_budget_of_its_own(home: FlaskClient, service: Flask) -> None:
    other = client_at(service, ELSEWHERE)
    guess(other, password=PASSWORD)

    answers = guess(home, 4)

    assert codes(answers) == [FAILED] * 3 + [REFUSED]
    assert codes(guess(home, password=PASSWORD)) == [REFUSED]
    assert codes(guess(other, password=PASSWORD)) == [""]
    assert codes(guess(client_at(service, "198.51.100.8"), 3)) == [FAILED] * 3


def test_device_has_a_lock_of_its_own_which_no_time_ends(home: FlaskClient, service: Flask, sql: Sql) -> None:
    answers = []
    for _ in range(6):
        answers += guess(home)
        elapse(sql, 31 * 86400)

    assert codes(answers) == [FAILED] * 5 + [REFUSED]
    assert codes(guess(home, password=PASSWORD)) == [REFUSED]
    assert codes(guess(client_at(service), password=PASSWORD)) == [""]


def test_success_of_a_device_gives_its_budget_back(home: FlaskClient, sql: Sql) -> None:
    answers = guess(home, 2) + guess(home, password=PASSWORD) + guess(home, 4)

    assert codes(answers) == [FAILED] * 2 + [""] + [FAILED] * 3 + [REFUSED]


def test_devices_that_are_known_by_address_alone_share_a_budget(service: Flask, home: FlaskClient) -> None:
    Actor(client_at(service, ELSEWHERE)).log_in()

    answers = guess(client_at(service, HOME), 2) + guess(client_at(service, ELSEWHERE), 2)

    assert codes(answers) == [FAILED] * 3 + [REFUSED]
    assert codes(guess(client_at(service, "203.0.113.1"), 3)) == [FAILED] * 3
    assert codes(guess(home, password=PASSWORD)) == [""]


def test_change_of_the_secret_key_makes_a_device_a_stranger(
    client_of: ClientOf, home: FlaskClient, sql: Sql
) -> None:
    home.application = client_of(
        secret_key=f"{SECRET_KEY}-2", limit_account_failures=Rate(1, "31d")
    ).application
    at(home, ELSEWHERE)

    guess(home)

    assert keys(sql, "account 1 ") == ["account 1 strangers"]
    assert codes(guess(home, password=PASSWORD)) == [REFUSED]


@pytest.mark.parametrize("is_known", [True, False])
def test_cookie_beside_others_is_found(service: Flask, home: FlaskClient, sql: Sql, is_known: bool) -> None:
    cookie = home.get_cookie("device")
    assert cookie
    name = "device" if is_known else "__Host-device"  # over HTTP the other name counts
    stranger = client_at(service, use_cookies=False)

    stranger.post(
        LOGIN,
        json={"username": "ada", "password": "x"},
        headers={"Cookie": f"a=b; {name}={cookie.value}; c=d"},
    )

    assert [key.split()[2] for key in keys(sql, "account 1 ")] == ["device" if is_known else "strangers"]
