"""What a change of the password ends and tells beside the sessions: links, pending addresses, a notice."""

import re

import pytest
from flask.testing import FlaskClient

from auth.tokens import one_time
from auth.tokens.one_time import Owner
from tests.support.actor import WRONG_PASSWORD, Actor
from tests.support.database import Sql
from tests.support.mails import letters
from tests.support.resets import ADAS, stored_token

PURPOSES = (one_time.RESET_PASSWORD, one_time.VERIFY_EMAIL)


@pytest.fixture
def suspect(ada: Actor, sql: Sql, client: FlaskClient) -> Actor:
    """A user for whom somebody who knew the password has asked for links, and for another address."""
    sql("INSERT INTO auth_emails VALUES (%s, %s, 'eve@example.com')", ada.id, ADAS)
    for purpose in PURPOSES:
        stored_token(client, Owner(ada.id, "eve@example.com"), purpose=purpose)
    return ada


@pytest.mark.parametrize("has_mail", [True, False], ids=["mail on", "mail off"])
def test_change_makes_every_link_void_and_forgets_the_pending_email(
    mailing: FlaskClient, suspect: Actor, sql: Sql, has_mail: bool
) -> None:
    """Also without mail: mail may be on again before a link expires."""
    bob = Actor(suspect.client, "bob").register()
    stored_token(mailing, Owner(bob.id, bob.email))
    user = suspect.through(mailing) if has_mail else suspect

    answer = user.change_password()

    assert answer.status_code == 200
    assert sql("SELECT user_id FROM auth_one_time_tokens") == [(bob.id,)]
    assert sql("SELECT * FROM auth_emails") == [(suspect.id, ADAS, None)]


def test_change_with_a_wrong_password_ends_nothing(mailing: FlaskClient, suspect: Actor, sql: Sql) -> None:
    answer = suspect.through(mailing).change_password(current_password=WRONG_PASSWORD)

    assert answer.status_code == 403
    assert sql("SELECT count(*) FROM auth_one_time_tokens") == [(len(PURPOSES),)]
    assert sql("SELECT pending FROM auth_emails") == [("eve@example.com",)]
    assert letters(mailing.application) == []


def test_change_queues_a_notice_and_wakes_the_sender(
    mailing: FlaskClient, ada: Actor, woken: list[str]
) -> None:
    ada.through(mailing).change_password()

    assert woken == ["woken"]
    [notice] = letters(mailing.application)
    assert (notice.kind, notice.user.id, notice.recipient, notice.link) == (
        "password_changed",
        ada.id,
        ADAS,
        "",
    )
    assert notice.details["ip"] == "127.0.0.1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", notice.details["time"])


def test_change_without_mail_queues_nothing(ada: Actor, sql: Sql) -> None:
    ada.change_password()

    assert sql("SELECT kind FROM auth_outbox") == []
