"""The states of a mail in the outbox, and that of two workers one alone changes them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask

from auth import housekeeping
from auth.mail import outbox
from auth.mail.outbox import CLAIM_SECONDS, QueuedMail
from db import Cursor
from runtime import clock
from tests.support.actor import Actor
from tests.support.database import Sql, held_open
from tests.support.outgoing import ADDRESS, Office

CHANGES: dict[str, Callable[[Cursor, QueuedMail], object]] = {
    "remove": outbox.remove,
    "postpone": lambda cur, mail: outbox.postpone(cur, mail, seconds=60, error="busy"),
    "give up": lambda cur, mail: outbox.give_up(cur, mail, error="refused"),
}


def test_claim_takes_the_mail_that_has_been_due_the_longest(office: Office) -> None:
    for recipient in ("first@example.com", "second@example.com", "third@example.com"):
        office.queue("reset_password", recipient)
    office.sql("UPDATE auth_outbox SET due_at = now() - INTERVAL '1 s' WHERE recipient LIKE 'third%'")

    claims = [office.claim() for _ in range(3)]

    assert [mail.recipient.partition("@")[0] for mail in claims] == ["third", "first", "second"]
    assert office.auth.database.write(outbox.claim) is None


def test_claim_tells_all_of_a_mail(office: Office, ada: Actor) -> None:
    office.queue("new_device", user_id=ada.id)
    office.let_pass("90 s")

    mail = office.claim()

    assert (mail.kind, mail.user_id, mail.recipient, mail.tries) == ("new_device", ada.id, ADDRESS, 1)
    assert mail.details["device"] == "Firefox on Windows"
    assert 90 <= mail.age_seconds < 100


def test_claim_ends_by_itself(office: Office) -> None:
    office.queue("reset_password")
    office.claim()

    due_in = office.due_in()
    office.make_due()

    assert CLAIM_SECONDS - 10 < due_in <= CLAIM_SECONDS
    assert office.claim().tries == 2


def test_mail_of_an_unknown_kind_is_left_as_it_is(office: Office) -> None:
    office.queue("kind_of_a_newer_version")
    before = office.rows("auth_outbox::TEXT")

    mail = office.auth.database.write(outbox.claim, kinds=["reset_password"])

    assert mail is None
    assert office.rows("auth_outbox::TEXT") == before


def test_mail_that_another_worker_looks_at_is_skipped(office: Office) -> None:
    office.queue("reset_password", "first@example.com")
    office.queue("reset_password", "second@example.com")
    statement = "SELECT FROM auth_outbox WHERE recipient LIKE 'first%' FOR UPDATE"

    with held_open(office.auth.settings.db_url, statement):
        assert office.claim().recipient == "second@example.com"
        assert office.auth.database.write(outbox.claim) is None


def test_each_mail_is_claimed_by_one_of_many_threads(office: Office) -> None:
    for number in range(40):
        office.queue("reset_password", f"u{number}@example.com")

    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(lambda _: office.auth.database.write(outbox.claim), range(60)))

    assert sorted(mail.id for mail in claims if mail) == [number for (number,) in office.rows("id")]


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        pytest.param("remove", [], id="remove"),
        pytest.param("postpone", [(1, False, "busy")], id="postpone"),
        pytest.param("give up", [(1, True, "refused")], id="give up"),
    ],
)
def test_change_ends_the_claim(office: Office, change: str, rows: list[tuple[int, bool, str]]) -> None:
    office.queue("reset_password")

    office.auth.database.write(CHANGES[change], office.claim())

    assert office.rows() == rows
    if change == "postpone":
        assert 50 < office.due_in() <= 60
    office.make_due()
    assert (office.auth.database.write(outbox.claim) is None) == (change != "postpone")


@pytest.mark.parametrize("change", CHANGES)
def test_worker_whose_claim_is_over_changes_nothing(office: Office, change: str) -> None:
    office.queue("reset_password")
    slow = office.claim()
    office.make_due()
    office.claim()
    before = office.rows("auth_outbox::TEXT")

    office.auth.database.write(CHANGES[change], slow)

    assert not office.auth.database.read(outbox.is_claimed, slow)
    assert office.rows("auth_outbox::TEXT") == before


@pytest.mark.parametrize("given_up", [False, True], ids=["nobody sends it", "given up"])
@pytest.mark.parametrize(("days", "count"), [(6.9, 0), (7.1, 1)])
def test_mail_is_purged_after_a_week(office: Office, *, given_up: bool, days: float, count: int) -> None:
    office.queue("reset_password")
    office.sql("UPDATE auth_outbox SET given_up = %s", given_up)
    office.let_pass(f"{days} days")

    removed = office.auth.database.write(outbox.purge, now=clock.now(), at_most=10)

    assert removed == count
    assert len(office.rows()) == 1 - count


def test_housekeeping_purges_mails_while_mail_is_off(office: Office, app: Flask) -> None:
    office.queue("reset_password")
    office.let_pass("8 days")

    housekeeping.run(app.extensions["auth"].database)

    assert app.extensions["auth"].sender is None
    assert office.rows() == []


def test_purge_is_bounded_and_skips_what_is_locked(office: Office) -> None:
    for _ in range(4):
        office.queue("reset_password")
    office.let_pass("8 days")
    first = "SELECT FROM auth_outbox ORDER BY id LIMIT 1 FOR UPDATE"

    with held_open(office.auth.settings.db_url, first):
        counts = [office.auth.database.write(outbox.purge, now=clock.now(), at_most=2) for _ in range(3)]

    assert counts == [2, 1, 0]


def test_fast_clock_purges_nothing_early(office: Office) -> None:
    office.queue("reset_password")

    removed = office.auth.database.write(outbox.purge, now=clock.now() + timedelta(days=30), at_most=10)

    assert removed == 0


@pytest.mark.parametrize(
    ("verified", "detail"),
    [
        pytest.param("ada@example.com", {"was_verified": "yes"}, id="verified"),
        pytest.param("former@example.com", {}, id="another is verified"),
        pytest.param(None, {}, id="not verified"),
    ],
)
def test_notice_tells_whether_its_address_was_verified(
    office: Office, ada: Actor, sql: Sql, verified: str | None, detail: dict[str, str]
) -> None:
    """An attacker who replaces the email meanwhile must not make the notice one that is limited."""
    sql("INSERT INTO auth_emails (user_id, verified) VALUES (%s, %s)", ada.id, verified)

    office.auth.database.write(outbox.queue_notice, "new_device", user_id=ada.id, details={"ip": "192.0.2.1"})

    assert office.rows("recipient, details") == [("ada@example.com", {"ip": "192.0.2.1"} | detail)]
