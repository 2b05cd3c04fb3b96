"""The limit of failed logins by strangers: for an account under all its names, whether it exists or not."""

import bcrypt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from config import Settings
from runtime.settings import Rate
from tests.support import PASSWORD
from tests.support.actor import LOGIN, Actor, ClientOf
from tests.support.apps import app_on, app_without_hash_slots
from tests.support.database import MakeDatabase, Sql, run_sql
from tests.support.throttling import ELSEWHERE, client_at, codes, elapse, guess, keys

FAILED, REFUSED = "invalid_credentials", "too_many_attempts"
BOTH = pytest.mark.parametrize(
    "name", [pytest.param("ada", id="account"), pytest.param("nobody", id="no account")]
)


@pytest.fixture
def stranger(app: Flask, ada: Actor) -> FlaskClient:
    """A browser that ada does not know, at an address that she does not know."""
    return client_at(app)


@pytest.fixture
def slow_refill(client_of: ClientOf, ada: Actor) -> FlaskClient:
    """A stranger to a service that allows 3 failures an hour."""
    return client_at(client_of(limit_account_failures=Rate(3, "3h")).application)


@BOTH
def test_failure_after_the_tenth_is_refused_until_one_has_come_back(
    stranger: FlaskClient, sql: Sql, name: str
) -> None:
    answers = guess(stranger, 12, username=name)
    elapse(sql, 60)
    answers += guess(stranger, 2, username=name)
    elapse(sql, 600)
    answers += guess(stranger, 11, username=name)

    expected = [FAILED] * 10 + [REFUSED] * 2 + [FAILED, REFUSED] + [FAILED] * 10 + [REFUSED]
    assert codes(answers) == expected


def test_refusal_says_when_to_come_back_and_no_more(slow_refill: FlaskClient, sql: Sql) -> None:
    guess(slow_refill, 3)
    elapse(sql, 600)

    [answer] = guess(slow_refill)

    assert answer.status_code == 429
    assert answer.get_json() == {
        "error": "Too many attempts for this account, please try again later.",
        "code": REFUSED,
        "retry_after": 3000,
    }
    assert answer.headers["Retry-After"] == "3000"
    assert not answer.headers.getlist("Set-Cookie")


def test_login_succeeds_after_exactly_the_seconds_that_the_refusal_named(
    slow_refill: FlaskClient, sql: Sql
) -> None:
    wait = guess(slow_refill, 4)[-1].get_json()["retry_after"]

    elapse(sql, wait - 2)
    early = guess(slow_refill, password=PASSWORD)
    elapse(sql, 2)
    later = guess(slow_refill, password=PASSWORD)

    assert codes(early + later) == [REFUSED, ""]


@pytest.mark.parametrize("passed_seconds", [0, 1000])
def test_answer_beyond_the_limit_is_the_same_for_every_password_and_account(
    slow_refill: FlaskClient, sql: Sql, passed_seconds: int
) -> None:
    for name in ("ada", "nobody"):
        guess(slow_refill, 3, username=name)
    elapse(sql, passed_seconds)
    headers = {"X-Request-ID": "same"}

    answers = [
        slow_refill.post(LOGIN, json={"username": name, "password": password}, headers=headers)
        for name in ("ada", "nobody")
        for password in (PASSWORD, "wrong horse")
    ]

    assert codes(answers) == [REFUSED] * 4
    assert len({(answer.status, answer.data, str(answer.headers)) for answer in answers}) == 1


@pytest.mark.parametrize(
    "logins",
    [
        pytest.param([{"username": "ada"}, {"email": "ada@example.com"}, {"username": "ADA"}], id="account"),
        pytest.param(
            [{"email": " Ada@Example.com\n"}, {"username": "\tada"}, {"username": "x", "email": "ada"}],
            id="account, blanks",
        ),
        pytest.param(
            [{"username": "nobody"}, {"email": "NOBODY "}, {"username": "\u00a0Nobody"}], id="no account"
        ),
    ],
)
def test_names_of_an_account_share_one_budget(slow_refill: FlaskClient, logins: list[dict[str, str]]) -> None:
    answers = [answer for login in [*logins, logins[0]] for answer in guess(slow_refill, **login)]

    assert codes(answers) == [FAILED] * 3 + [REFUSED]


@pytest.mark.parametrize(
    ("used_up", "other"), [("ada", "bob"), ("ada", "nobody"), ("nobody", "ada"), ("nobody", "somebody")]
)
def test_accounts_have_budgets_of_their_own(
    slow_refill: FlaskClient, client: FlaskClient, used_up: str, other: str
) -> None:
    Actor(client, "bob").register()
    guess(slow_refill, 4, username=used_up)

    answers = guess(slow_refill, username=other)

    assert codes(answers) == [FAILED]


def test_refused_login_computes_no_hash(slow_refill: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes: list[object] = []
    hashpw = bcrypt.hashpw

    def record(*call: bytes) -> bytes:
        hashes.append(call)
        return hashpw(*call)

    monkeypatch.setattr(bcrypt, "hashpw", record)
    guess(slow_refill, 3)
    allowed = len(hashes)

    guess(slow_refill, 5)

    assert (allowed, len(hashes)) == (3, 3)


def test_malformed_login_is_free(slow_refill: FlaskClient, sql: Sql) -> None:
    before = keys(sql)

    answers = [slow_refill.post(LOGIN, json={"username": "ada"}) for _ in range(5)]

    assert codes(answers) == ["validation_failed"] * 5
    assert keys(sql) == before


def test_right_logins_never_reach_a_limit(client_of: ClientOf, ada: Actor, sql: Sql) -> None:
    app = client_of(limit_account_failures=Rate(1, "31d"), limit_address_failures=Rate(1, "31d")).application

    # Each with a new browser, half of them at a known address.
    answers = [
        answer
        for number in range(100)
        for answer in guess(client_at(app, f"198.51.{number // 2}.1"), password=PASSWORD)
    ]

    assert codes(answers) == [""] * 100
    assert keys(sql, "account") == []


def test_right_logins_in_a_row_never_reach_a_limit(app: Flask, ada: Actor) -> None:
    count = Settings.limit_address_failures.count + 10  # more than any limit allows

    answers = guess(client_at(app, use_cookies=False), count, password=PASSWORD)

    assert codes(answers) == [""] * count


def test_success_of_a_stranger_fills_the_budget(slow_refill: FlaskClient, sql: Sql) -> None:
    guess(slow_refill, 2)
    guess(slow_refill, password=PASSWORD)
    other = client_at(slow_refill.application, "198.51.100.99")

    answers = guess(other, 4)

    assert codes(answers) == [FAILED] * 3 + [REFUSED]


def test_success_gives_back_one_failure_of_the_address(client_of: ClientOf, ada: Actor) -> None:
    app = client_of(limit_address_failures=Rate(3, "3h")).application
    client = client_at(app, use_cookies=False)

    answers = guess(client, username="x") + guess(client, password=PASSWORD) + guess(client, 3, username="y")

    assert codes(answers) == [FAILED, "", FAILED, FAILED, "rate_limited"]


def test_login_without_a_hash_slot_is_given_back(make_database: MakeDatabase) -> None:
    url = make_database()
    Actor(app_on(url).test_client()).register()
    app = app_without_hash_slots(url)

    for name in ("ada", "nobody"):
        assert codes(guess(client_at(app), 15, username=name)) == ["busy"] * 15

    assert run_sql(url, "SELECT key FROM auth_throttle WHERE failures > 0 OR locked") == []
    assert run_sql(url, "SELECT key FROM auth_throttle WHERE key LIKE 'a%%' AND full_at > now()") == []


def test_address_is_limited_over_many_accounts(client_of: ClientOf, ada: Actor, sql: Sql) -> None:
    app = client_of(limit_address_failures=Rate(3, "3h")).application
    client = client_at(app)
    tried = [answer for name in ("ada", "nobody", "x") for answer in guess(client, username=name)]

    [refused] = guess(client, password=PASSWORD)

    assert codes(tried) == [FAILED] * 3
    assert (refused.status_code, refused.get_json()["code"]) == (429, "rate_limited")
    assert refused.headers["Retry-After"] == str(refused.get_json()["retry_after"]) == "3600"
    assert codes(guess(client_at(app, "198.51.100.8"), password=PASSWORD)) == [""]


def test_login_that_the_address_is_refused_is_not_charged_to_the_account(
    client_of: ClientOf, ada: Actor, sql: Sql
) -> None:
    client = client_at(client_of(limit_address_failures=Rate(1, "31d")).application)
    guess(client, username="nobody")

    answers = guess(client, 20) + guess(client, 20, username="unheard-of")

    assert codes(answers) == ["rate_limited"] * 40
    assert keys(sql, "account 1 ") == []
    assert len(keys(sql, "account")) == 1  # of nobody


def test_login_that_the_account_is_refused_is_not_charged_to_the_address(
    client_of: ClientOf, ada: Actor
) -> None:
    client = client_at(
        client_of(limit_account_failures=Rate(1, "1h"), limit_address_failures=Rate(2, "31d")).application
    )

    answers = guess(client, 9) + guess(client, 2, username="nobody")

    assert codes(answers) == [FAILED] + [REFUSED] * 8 + [FAILED, "rate_limited"]


def test_switched_off_limits_refuse_nobody_and_store_nothing(
    client_of: ClientOf, ada: Actor, sql: Sql
) -> None:
    sql("DELETE FROM auth_throttle")
    client = client_at(client_of(rate_limits=False, lockout_failures=1).application, ELSEWHERE)

    answers = guess(client, 30) + guess(client, password=PASSWORD)

    assert codes(answers) == [FAILED] * 30 + [""]
    assert not answers[-1].headers.getlist("Set-Cookie")
    assert keys(sql) == []
