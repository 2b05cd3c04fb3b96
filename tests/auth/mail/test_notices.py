"""What a notice tells of a request, and the notice of a lock."""

from datetime import datetime, timedelta, timezone

import pytest
from flask import Flask

from auth.client import Client
from auth.mail import notices as module
from auth.mail.notices import ACCOUNT_LOCKED
from tests.support.actor import Actor
from tests.support.database import Sql
from tests.support.mails import letters
from tests.support.notices import details, notices

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
AT = datetime(2026, 1, 2, 3, 4, 59, 999999, timezone.utc)
DETAILS = {"time": "2026-01-02 03:04 UTC", "ip": "192.0.2.7", "device": ""}


@pytest.mark.parametrize(
    ("client", "now", "expected"),
    [
        pytest.param(Client("192.0.2.7", ""), AT, DETAILS, id="address alone"),
        pytest.param(Client("", ""), AT, DETAILS | {"ip": ""}, id="nothing is known"),
        pytest.param(
            Client("2001:db8::1", FIREFOX),
            AT,
            DETAILS | {"ip": "2001:db8::1", "device": "Firefox on Windows"},
            id="IPv6, browser",
        ),
        pytest.param(Client("192.0.2.7", "Buy at https://evil.example now"), AT, DETAILS, id="advertisement"),
        pytest.param(
            Client("192.0.2.7", ""),
            AT.astimezone(timezone(timedelta(hours=-8))),
            DETAILS,
            id="another time zone",
        ),
    ],
)
def test_details_are_time_address_and_device(client: Client, now: datetime, expected: dict[str, str]) -> None:
    assert module.details(client, now) == expected


@pytest.fixture
def outbox(app: Flask, sql: Sql) -> Flask:
    """The app with an empty outbox."""
    sql("DELETE FROM auth_outbox")
    return app


def queue_lock(app: Flask, user_id: int | None) -> None:
    app.extensions["auth"].database.write(module.queue_lock, user_id, DETAILS)


def test_notice_of_a_lock_goes_to_the_owner(outbox: Flask, ada: Actor, sql: Sql) -> None:
    queue_lock(outbox, ada.id)

    assert notices(sql) == [(ACCOUNT_LOCKED, ada.id, ada.email)]
    assert details(sql) == [DETAILS]


@pytest.mark.parametrize(("user_id", "rows"), [(None, [(ACCOUNT_LOCKED, None, "")]), (99, [])])
def test_notice_of_a_lock_goes_to_nobody_without_a_user(
    outbox: Flask, sql: Sql, user_id: int | None, rows: list[tuple[object, ...]]
) -> None:
    queue_lock(outbox, user_id)

    assert notices(sql) == rows
    assert letters(outbox) == []
    assert notices(sql) == []


def test_notice_goes_with_its_user(outbox: Flask, ada: Actor, sql: Sql) -> None:
    queue_lock(outbox, ada.id)

    ada.delete()

    assert notices(sql) == []
