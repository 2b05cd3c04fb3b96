"""The limit of registrations from one address."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from runtime.settings import Rate
from tests.support import PASSWORD
from tests.support.actor import Actor, ClientOf
from tests.support.apps import app_without_hash_slots
from tests.support.database import MakeDatabase, Sql, run_sql
from tests.support.registrations import try_register
from tests.support.throttling import client_at, codes, elapse, guess, keys

REFUSED = "rate_limited"


@pytest.fixture
def client(client_of: ClientOf) -> FlaskClient:
    """A client of a service that takes 3 registrations an hour from one address."""
    return client_at(client_of(limit_registrations=Rate(3, "3h")).application)


def register(client: FlaskClient, name: str) -> str:
    """Register a user and return the error code, "" for a success."""
    return codes([try_register(client, username=name, email=f"{name}@example.com")])[0]


def test_registration_beyond_the_limit_is_refused_until_one_has_come_back(
    client: FlaskClient, sql: Sql
) -> None:
    before = [register(client, f"user{number}") for number in range(4)]
    refused = try_register(client)
    elapse(sql, 3600)
    after = [register(client, f"later{number}") for number in range(2)]

    assert before == ["", "", "", REFUSED]
    assert refused.status_code == 429
    assert refused.get_json() == {
        "error": "Too many requests came from your address, please try again later.",
        "code": REFUSED,
        "retry_after": 3600,
    }
    assert refused.headers["Retry-After"] == "3600"
    assert after == ["", REFUSED]
    assert sql("SELECT count(*) FROM users") == [(4,)]


def test_address_beyond_the_limit_is_refused_alone(client: FlaskClient) -> None:
    for number in range(4):
        register(client, f"user{number}")

    assert register(client, "ada") == REFUSED
    assert register(client_at(client.application, "192.0.2.9"), "ada") == ""


def test_registration_that_breaks_a_rule_is_free(client: FlaskClient, sql: Sql) -> None:
    for _ in range(9):
        try_register(client, password="short")
        try_register(client, email=...)

    assert keys(sql) == []


def test_registration_of_a_taken_name_counts(client: FlaskClient) -> None:
    assert [register(client, "ada") for _ in range(4)] == ["", "username_taken", "username_taken", REFUSED]


def test_registration_without_a_hash_slot_is_given_back(make_database: MakeDatabase) -> None:
    url = make_database()
    client = client_at(app_without_hash_slots(url))

    assert [register(client, "ada") for _ in range(150)] == ["busy"] * 150
    assert run_sql(url, "SELECT key FROM auth_throttle WHERE full_at > clock_timestamp()") == []


def test_registrations_and_failed_logins_have_limits_of_their_own(client_of: ClientOf) -> None:
    app = client_of(limit_registrations=Rate(1, "1h"), limit_address_failures=Rate(1, "1h")).application
    client = client_at(app, use_cookies=False)

    answers = [register(client, "ada"), register(client, "bob"), *codes(guess(client, 2, username="nobody"))]

    assert answers == ["", REFUSED, "invalid_credentials", REFUSED]


def test_client_without_an_address_is_not_limited(client: FlaskClient, sql: Sql) -> None:
    unknown = client_at(client.application, "")

    assert [register(unknown, f"user{number}") for number in range(5)] == [""] * 5
    assert keys(sql) == []


def test_addresses_of_one_subscriber_share_the_limit(client: FlaskClient) -> None:
    clients = [client_at(client.application, f"2001:db8:0:1::{number}") for number in range(4)]

    assert [register(each, f"user{number}") for number, each in enumerate(clients)] == ["", "", "", REFUSED]


def test_class_of_a_hundred_behind_one_address_registers_and_logs_in(app: Flask) -> None:
    pupils = [Actor(client_at(app), f"pupil{number}") for number in range(100)]

    for pupil in pupils:
        pupil.register()
    # Each with one typing error, half of them in a new browser.
    for number, pupil in enumerate(pupils):
        browser = pupil.client if number % 2 else client_at(app)
        attempt = Actor(browser, pupil.username)
        assert attempt.try_log_in(password=f"{PASSWORD}x").status_code == 401
        attempt.log_in()


@pytest.mark.slow
def test_three_hundred_registrations_pass_without_limits(client_of: ClientOf, sql: Sql) -> None:
    client = client_at(client_of(rate_limits=False).application)

    answers = [
        try_register(client, username=f"u{number}", email=f"u{number}@example.com") for number in range(300)
    ]

    assert codes(answers) == [""] * 300
    assert not [answer for answer in answers if answer.headers.getlist("Set-Cookie")]
    assert keys(sql) == []
