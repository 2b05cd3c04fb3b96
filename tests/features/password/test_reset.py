"""POST /api/auth/password/reset: what a reset does, and that it does all or nothing."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from auth import emails
from auth.mail import outbox
from auth.throttling import counters
from auth.tokens import one_time
from auth.tokens.one_time import Owner
from db import DatabaseUnavailable
from tests.support import PASSWORD
from tests.support.actor import NEW_PASSWORD, REFRESH_INVALID, TOKEN_INVALID, Actor, ClientOf, refusal
from tests.support.apps import fill_every_hash_slot
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings
from tests.support.resets import ADAS, LINK_INVALID, new_token, reset, stored_token
from tests.support.rows import stored
from tests.support.throttling import client_at, codes, keys


def everything(sql: Sql) -> list[tuple[Any, ...]]:
    """Return every row that a reset could change."""
    tables = ("auth_emails", "auth_one_time_tokens", "auth_outbox", "auth_throttle")
    return stored(sql) + [
        row for table in tables for row in sql(f"SELECT {table}::text FROM {table} ORDER BY 1")
    ]


def test_reset_replaces_the_password_and_logs_nobody_in(mailing: FlaskClient, ada: Actor, token: str) -> None:
    answer = reset(mailing, token)

    assert (answer.status_code, answer.data) == (204, b"")
    assert "Set-Cookie" not in answer.headers
    assert ada.try_log_in().status_code == 401
    assert ada.try_log_in(password=NEW_PASSWORD).status_code == 200


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(PASSWORD, id="the old one"),
        pytest.param("x" * 7 + "y", id="shortest"),
        pytest.param("x" * 256, id="longest"),
        pytest.param("\U0001f600" * 256, id="longest in bytes"),
        pytest.param(f" {PASSWORD} ", id="blanks around"),
    ],
)
def test_reset_takes_any_good_password(mailing: FlaskClient, ada: Actor, token: str, new: str) -> None:
    assert reset(mailing, token, new).status_code == 204
    assert ada.try_log_in(password=new).status_code == 200


def test_reset_ends_every_session_of_the_user_on_every_worker(
    client_of: ClientOf, mailing: FlaskClient, ada: Actor, token: str
) -> None:
    bob = Actor(ada.client, "bob").register()
    devices = [ada, ada.elsewhere().through(client_of()), ada.elsewhere().through(mailing)]
    assert all(device.is_live() for device in devices)

    reset(mailing, token)

    assert {refusal(device.me()) for device in devices} == {TOKEN_INVALID}
    assert {refusal(device.try_refresh()) for device in devices} == {REFRESH_INVALID}
    assert bob.is_live()


def test_reset_verifies_the_email_and_forgets_the_pending_one(
    mailing: FlaskClient, ada: Actor, sql: Sql, token: str
) -> None:
    sql("INSERT INTO auth_emails (user_id, pending) VALUES (%s, 'eve@example.com')", ada.id)

    reset(mailing, token)

    user = ada.log_in(password=NEW_PASSWORD).me().get_json()
    assert (user["email"], user["email_verified"]) == (ADAS, True)
    assert "pending_email" not in user
    assert sql("SELECT * FROM auth_emails") == [(ada.id, ADAS, None)]


def test_reset_makes_every_link_of_the_user_void_and_of_nobody_else(
    mailing: FlaskClient, ada: Actor, sql: Sql, token: str
) -> None:
    bob = Actor(ada.client, "bob").register()
    stored_token(mailing, Owner(ada.id, ADAS), purpose=one_time.VERIFY_EMAIL)
    stored_token(mailing, Owner(bob.id, bob.email), purpose=one_time.VERIFY_EMAIL)

    reset(mailing, token)

    assert sql("SELECT user_id FROM auth_one_time_tokens") == [(bob.id,)]


def test_reset_queues_a_notice_and_wakes_the_sender(
    mailing: FlaskClient, ada: Actor, token: str, woken: list[str]
) -> None:
    mailing.environ_base["REMOTE_ADDR"] = "203.0.113.9"

    reset(mailing, token)

    assert woken == ["woken"]
    [notice] = letters(mailing.application)
    assert (notice.kind, notice.user.id, notice.recipient, notice.link) == (
        "password_reset",
        ada.id,
        ADAS,
        "",
    )
    assert (notice.details["ip"], notice.details["device"]) == ("203.0.113.9", "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", notice.details["time"])


def test_reset_ends_the_lock_and_fills_every_budget_of_the_account(
    client_of: ClientOf, ada: Actor, sql: Sql
) -> None:
    app = client_of(mail=mail_settings(), lockout_failures=2).application
    bob = Actor(client_at(app), "bob").register()
    stranger, browser = client_at(app), client_at(app)
    owner = ada.through(browser, {}).log_in()  # its cookie makes it a device of its own
    for guesser in (stranger, stranger, browser, browser):
        ada.through(guesser).try_log_in(password="wrong")
    bob.through(stranger).try_log_in(password="wrong")
    assert codes([ada.through(stranger).try_log_in(), owner.try_log_in()]) == ["too_many_attempts"] * 2
    before = keys(sql, f"account {bob.id} ")

    reset(stranger, new_token(stranger))

    assert keys(sql, f"account {ada.id} ") == []
    assert keys(sql, f"account {bob.id} ") == before != []
    logins = [ada.through(each).try_log_in(password=NEW_PASSWORD) for each in (client_at(app), browser)]
    assert codes(logins) == ["", ""]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("username = ' ada\t', first_name = NULL, last_name = NULL", id="blanks and NULL"),
        pytest.param("password = 'no password'", id="without a password"),
        pytest.param("email = 'Ada@Example.com'", id="letter case"),
        pytest.param("created_at = NULL", id="without a date"),
    ],
)
def test_user_of_an_earlier_version_is_reset(mailing: FlaskClient, ada: Actor, sql: Sql, change: str) -> None:
    sql(f"UPDATE users SET {change}")

    answer = reset(mailing, new_token(mailing))

    assert answer.status_code == 204
    assert ada.try_log_in(email=ADAS, password=NEW_PASSWORD).status_code == 200
    assert sql("SELECT verified = email FROM auth_emails JOIN users ON id = user_id") == [(True,)]


@pytest.mark.parametrize(
    "new",
    [
        pytest.param("", id="empty"),
        pytest.param(None, id="null"),
        pytest.param(12345678, id="number"),
        pytest.param("x" * 7, id="short"),
        pytest.param("x" * 257, id="long"),
        pytest.param("x\u0301" * 5000, id="endless accents"),
        pytest.param("battery\0staple", id="NUL"),
        pytest.param("password1", id="common"),
        pytest.param("COUNTESS", id="username"),
        pytest.param("ADA@example.com", id="email"),
    ],
)
def test_bad_password_is_400_and_leaves_the_token(
    mailing: FlaskClient, ada: Actor, sql: Sql, token: str, new: object
) -> None:
    sql("UPDATE users SET username = ' countess '")
    before = everything(sql)

    answer = reset(mailing, token, new)

    assert refusal(answer) == (400, "validation_failed", None)
    assert answer.get_json()["fields"].keys() == {"new_password"}
    assert everything(sql) == before
    assert reset(mailing, token).status_code == 204


def test_both_bad_fields_are_named(mailing: FlaskClient) -> None:
    answer = reset(mailing, 7, "x")

    assert answer.get_json()["fields"].keys() == {"token", "new_password"}


def test_reset_without_a_hash_slot_is_503_and_leaves_the_token(
    client_of: ClientOf, mailing: FlaskClient, sql: Sql, token: str
) -> None:
    full = client_of(mail=mail_settings())
    fill_every_hash_slot(full.application)
    before = everything(sql)

    answer = reset(full, token)

    assert codes([answer]) == ["busy"]
    assert everything(sql) == before
    assert reset(mailing, token).status_code == 204


@pytest.mark.parametrize(
    ("module", "name"),
    [(one_time, "void"), (emails, "set_verified"), (outbox, "queue_notice"), (counters, "forget")],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_reset_that_fails_at_any_step_changes_nothing(
    mailing: FlaskClient,
    ada: Actor,
    sql: Sql,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("the connection was lost")

    ada.try_log_in(password="wrong")
    before = everything(sql)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail)
        answer = reset(mailing, token)

    assert codes([answer]) == ["database_unavailable"]
    assert everything(sql) == before
    assert reset(mailing, token).status_code == 204


def test_token_works_once(mailing: FlaskClient, ada: Actor, sql: Sql, token: str) -> None:
    reset(mailing, token)
    before = stored(sql)

    answer = reset(mailing, token, "another one")

    assert refusal(answer) == LINK_INVALID
    assert stored(sql) == before
