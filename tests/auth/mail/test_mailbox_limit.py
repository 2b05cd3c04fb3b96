"""How many mails with a link strangers can have sent to one address: LIMIT_MAILBOX."""

from typing import Any

import pytest

from auth.mail import outbox
from auth.mail.outbox import NewMail
from auth.throttling import keys
from runtime.settings import Rate
from tests.support import SECRET_KEY
from tests.support.actor import Actor, ClientOf
from tests.support.apps import messages
from tests.support.database import Sql
from tests.support.mails import mail_settings
from tests.support.outgoing import ADDRESS, Office, busy, office_of


def test_three_mails_with_a_link_go_out_and_the_fourth_is_dropped(
    office: Office, ada: Actor, log_lines: list[dict[str, Any]]
) -> None:
    for recipient in (ADDRESS, "Ada@Example.com", " ada@example.COM "):
        office.queue("reset_password", recipient.strip())
    office.queue("verify_email", user_id=ada.id)
    number = office.rows("id")[-1][0]

    for _ in range(4):
        office.send_next()

    assert office.post.recipients() == [ADDRESS] * 3
    assert office.rows() == []
    assert messages(log_lines, "INFO")[-1] == f"mailbox_limit id={number} kind=verify_email user_id={ada.id}"
    assert ADDRESS not in str(log_lines).lower()


def test_refused_mail_leaves_the_link_of_the_last_one_valid(office: Office, ada: Actor, sql: Sql) -> None:
    for _ in range(4):
        office.queue("reset_password")
    for _ in range(3):
        office.send_next()
    before = sql("SELECT token_hash::TEXT FROM auth_one_time_tokens")

    office.send_next()

    assert sql("SELECT token_hash::TEXT FROM auth_one_time_tokens") == before


@pytest.mark.parametrize(
    ("kind", "is_verified", "count"),
    [
        pytest.param("new_device", True, 6, id="verified"),
        pytest.param("new_device", False, 3, id="not verified"),
        pytest.param("password_changed", False, 3, id="not verified, another kind"),
    ],
)
def test_notices_to_a_verified_address_are_free(
    office: Office, ada: Actor, sql: Sql, kind: str, is_verified: bool, count: int
) -> None:
    if is_verified:
        sql("INSERT INTO auth_emails (user_id, verified) VALUES (%s, %s)", ada.id, ADDRESS)
    for _ in range(6):
        office.queue(kind, user_id=ada.id)

    for _ in range(6):
        office.send_next()

    assert len(office.post.sent) == count
    assert office.rows() == []


@pytest.mark.parametrize(("was_verified", "count"), [("yes", 6), ("", 3)])
def test_notice_to_a_former_address_is_free_if_it_was_verified(
    office: Office, ada: Actor, sql: Sql, was_verified: str, count: int
) -> None:
    """Attack (mail bombing): register an address of somebody else, change it to an own one, begin again."""
    sql("INSERT INTO auth_emails (user_id, verified) VALUES (%s, %s)", ada.id, ADDRESS)
    details = {"was_verified": was_verified, "address": ADDRESS}
    for _ in range(6):
        office.auth.database.write(
            outbox.queue, NewMail("email_changed", "former@example.com", ada.id, details)
        )

    for _ in range(6):
        office.send_next()

    assert len(office.post.sent) == count


def test_mail_of_a_killed_worker_is_charged_at_its_next_try(office: Office, ada: Actor) -> None:
    for _ in range(5):
        office.queue("reset_password")
        office.claim()
    office.make_due()

    for _ in range(5):
        office.send_next()

    assert len(office.post.sent) == 3


def test_mail_that_has_no_reason_is_not_charged(office: Office, ada: Actor, sql: Sql) -> None:
    for _ in range(4):
        office.queue("reset_password", "nobody@example.com")

    for _ in range(4):
        office.send_next()

    assert (office.rows(), office.post.sent) == ([], [])
    assert sql("SELECT count(*) FROM auth_throttle WHERE key LIKE 'mailbox %%'") == [(0,)]


def test_second_try_is_not_charged(office: Office, ada: Actor) -> None:
    for _ in range(3):
        office.queue("reset_password")
    office.post.failures = [busy()] * 6

    for _ in range(3):
        office.make_due()
        for _ in range(3):
            office.send_next()

    assert office.post.recipients() == [ADDRESS] * 3


def test_other_addresses_have_a_budget_of_their_own(office: Office, ada: Actor) -> None:
    for recipient in [*(f"u{number}@example.com" for number in range(4)), ADDRESS]:
        office.queue("reset_password", recipient)

    for _ in range(5):
        office.send_next()

    assert office.post.recipients() == [ADDRESS]


@pytest.mark.parametrize(
    ("changes", "rate", "count"),
    [
        pytest.param({"rate_limits": False}, Rate(3, "1h"), 5, id="RATE_LIMITS=off"),
        pytest.param({}, Rate(1, "1h"), 1, id="LIMIT_MAILBOX"),
    ],
)
def test_settings_decide_how_many_go_out(
    client_of: ClientOf, ada: Actor, sql: Sql, changes: dict[str, Any], rate: Rate, count: int
) -> None:
    office = office_of(client_of(mail=mail_settings(limit_mailbox=rate), **changes).application, sql)
    for _ in range(5):
        office.queue("reset_password")

    for _ in range(5):
        office.send_next()

    assert len(office.post.sent) == count
    assert sql("SELECT count(*) FROM auth_throttle WHERE key LIKE 'mailbox %%'") == [
        (0 if "rate_limits" in changes else 1,)
    ]


def test_key_of_a_mailbox_has_one_spelling_and_no_address() -> None:
    spellings = [ADDRESS, "ADA@example.com", " ada@example.com "]

    assert len({keys.mailbox(spelling, key=SECRET_KEY) for spelling in spellings}) == 1
    assert keys.mailbox("\u0410da@example.com", key=SECRET_KEY) != keys.mailbox(ADDRESS, key=SECRET_KEY)
    assert "ada" not in keys.mailbox(ADDRESS, key=SECRET_KEY)
