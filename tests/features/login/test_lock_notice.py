"""The mail to the owner when strangers have locked an account, and that it reveals no account."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.mail import notices as module
from auth.mail.sender import Sender
from auth.passwords import PasswordHasher
from auth.throttling import guard
from db import DatabaseUnavailable, PoolFull
from tests.support import PASSWORD
from tests.support.actor import WRONG_PASSWORD, Actor, ClientOf
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings
from tests.support.notices import details, notices
from tests.support.throttling import ELSEWHERE, HOME, client_at, codes, guess, guess_patiently

FAILED, REFUSED = "invalid_credentials", "too_many_attempts"
NOTICE = ("account_locked", 1, "ada@example.com")
OF_NOBODY = ("account_locked", None, "")


@pytest.fixture
def service(client_of: ClientOf, sql: Sql) -> Flask:
    """A service that sends mail, with an empty outbox and a lock after 4 failures."""
    sql("DELETE FROM auth_outbox")
    return client_of(mail=mail_settings(), lockout_failures=4).application


@pytest.fixture
def home(service: Flask) -> FlaskClient:
    """Ada's browser, in which she has registered at home."""
    browser = client_at(service, HOME)
    Actor(browser).register()
    letters(service)  # without the mail that verifies the address
    return browser


@pytest.fixture
def stranger(service: Flask, home: FlaskClient) -> FlaskClient:
    return client_at(service)


def locks(sql: Sql) -> list[tuple[Any, ...]]:
    return [row for row in notices(sql) if row[0] == "account_locked"]


def test_owner_gets_one_mail_when_the_lock_begins(service: Flask, stranger: FlaskClient, sql: Sql) -> None:
    answers = guess_patiently(stranger, sql, 3)
    before = notices(sql)
    answers += guess_patiently(stranger, sql, 5)

    assert codes(answers) == [FAILED] * 4 + [REFUSED] * 4
    assert (before, notices(sql)) == ([], [NOTICE])
    assert [(told["ip"], told["device"]) for told in details(sql)] == [(ELSEWHERE, "")]
    [letter] = letters(service)
    assert (letter.kind, letter.recipient, letter.link) == (*NOTICE[::2], "")


def test_lock_wakes_the_sender(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    sql: Sql = request.getfixturevalue("sql")
    wakes: list[Any] = []
    monkeypatch.setattr(Sender, "wake", lambda _: wakes.append(notices(sql)))  # before the service is made
    stranger = request.getfixturevalue("stranger")
    wakes.clear()

    guess_patiently(stranger, sql, 6)

    assert wakes == [[NOTICE]]


def test_lock_that_ended_mails_again_when_it_begins_again(
    stranger: FlaskClient, home: FlaskClient, sql: Sql
) -> None:
    guess_patiently(stranger, sql, 5)

    guess(home, password=PASSWORD)
    guess_patiently(stranger, sql, 5)

    assert locks(sql) == [NOTICE, NOTICE]


def test_right_password_at_the_last_attempt_mails_no_lock(stranger: FlaskClient, sql: Sql) -> None:
    guess_patiently(stranger, sql, 3)

    assert codes(guess(stranger, password=PASSWORD)) == [""]
    assert locks(sql) == []


@pytest.mark.parametrize("known_by", ["cookie", "address"])
def test_lock_of_a_known_device_mails_nobody(
    service: Flask, home: FlaskClient, sql: Sql, known_by: str
) -> None:
    device = home if known_by == "cookie" else client_at(service, HOME)

    answers = guess_patiently(device, sql, 5)

    assert codes(answers) == [FAILED] * 4 + [REFUSED]
    assert notices(sql) == []


def test_lock_of_a_session_mails_nobody(service: Flask, stranger: FlaskClient, sql: Sql) -> None:
    ada = Actor(client_at(service, "203.0.113.1")).log_in()
    sql("DELETE FROM auth_outbox")
    thief = ada.through(client_at(service, use_cookies=False))

    answers = [thief.delete(WRONG_PASSWORD) for _ in range(5)]

    assert codes(answers) == ["wrong_password"] * 4 + [REFUSED]
    assert notices(sql) == []


@pytest.mark.parametrize("changes", [{"mail": None}, {"lockout_failures": 0}, {"rate_limits": False}])
def test_without_mail_or_locks_nobody_gets_a_mail(
    client_of: ClientOf, home: FlaskClient, sql: Sql, changes: dict[str, Any]
) -> None:
    settings = {"mail": mail_settings(), "lockout_failures": 4} | changes
    stranger = client_at(client_of(**settings).application)

    guess_patiently(stranger, sql, 6)
    guess_patiently(stranger, sql, 6, username="nobody")

    assert notices(sql) == []


def visible(answer: Any) -> tuple[Any, ...]:
    """Return what a client sees of an answer, but for what differs in every answer."""
    headers = [(name, value) for name, value in answer.headers if name not in ("X-Request-ID", "Date")]
    return answer.status_code, answer.data, headers


def test_lock_reveals_no_account(service: Flask, stranger: FlaskClient, sql: Sql) -> None:
    """Attack: user enumeration. Each answer is the same, and a name that nobody has is a row as well."""
    of_ada = guess_patiently(stranger, sql, 6)
    of_nobody = guess_patiently(stranger, sql, 6, username="nobody")

    assert [visible(answer) for answer in of_ada] == [visible(answer) for answer in of_nobody]
    assert notices(sql) == [NOTICE, OF_NOBODY]
    assert [letter.recipient for letter in letters(service)] == ["ada@example.com"]
    assert notices(sql) == []


@pytest.fixture
def failures(service: Flask, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the next writes of the notice of a lock raise, the last one first."""
    database = service.extensions["auth"].database
    write = database.write
    raised: list[Exception] = []

    def write_or_fail(query: Any, *args: Any, **kwargs: Any) -> Any:
        if query is module.queue_lock and raised:
            raise raised.pop()
        return write(query, *args, **kwargs)

    monkeypatch.setattr(database, "write", write_or_fail)
    monkeypatch.setattr(guard, "WRITE_PAUSES", (0.0, 0.0, 0.0))
    return raised


def test_mail_goes_out_although_the_pool_is_full_for_a_moment(
    stranger: FlaskClient, sql: Sql, failures: list[Exception]
) -> None:
    failures += [PoolFull("full"), PoolFull("full")]

    answers = guess_patiently(stranger, sql, 4)

    assert codes(answers) == [FAILED] * 4
    assert notices(sql) == [NOTICE]


@pytest.mark.parametrize("failure", [[DatabaseUnavailable("down")], [PoolFull("full")] * 3])
def test_answer_stays_the_same_although_the_mail_cannot_be_queued(
    stranger: FlaskClient,
    sql: Sql,
    failures: list[Exception],
    failure: list[Exception],
    log_lines: list[dict[str, Any]],
) -> None:
    failures += failure

    answers = guess_patiently(stranger, sql, 5)

    assert codes(answers) == [FAILED] * 4 + [REFUSED]
    assert notices(sql) == []
    assert [line["message"] for line in log_lines].count("account_locked account=1 key='account 1 strangers'")
    assert "notice_not_queued account=1: " in str(log_lines)


def test_user_who_is_deleted_during_the_last_attempt_gets_no_mail(
    stranger: FlaskClient, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    guess_patiently(stranger, sql, 3)

    def delete_and_refuse(*_: Any) -> bool:
        sql("DELETE FROM users")
        return False

    monkeypatch.setattr(PasswordHasher, "verify", delete_and_refuse)

    assert codes(guess(stranger)) == [FAILED]
    assert notices(sql) == []
