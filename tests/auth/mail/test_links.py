"""What a queued mail becomes: a letter to the address that its user has, with a new token, or nothing."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from flask import Flask

from auth.mail import links, outbox
from auth.mail.links import Letter
from auth.mail.outbox import NewMail
from auth.tokens import one_time
from config import Settings
from db import Database
from tests.support.actor import Actor
from tests.support.database import Sql, held_open
from tests.support.mails import mail_settings, token_of
from tests.support.races import wait_until_blocked

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)
SETTINGS = mail_settings(verify_expires_seconds=7200, reset_expires_seconds=600)
VERIFY, RESET = "verify_email", "reset_password"
EMAIL = "ada@example.com"


@pytest.fixture
def service(app: Flask) -> Database:
    database: Database = app.extensions["auth"].database
    return database


def written(database: Database, kind: str, recipient: str, user_id: int | None = None) -> Letter | None:
    """Queue a mail, claim it, and return what it becomes."""
    database.write(outbox.queue, NewMail(kind, recipient, user_id, {"ip": "192.0.2.1"}))
    mail = database.write(outbox.claim)
    assert mail
    letter = database.write(links.letter, mail, settings=SETTINGS, now=NOW)
    database.write(outbox.remove, mail)
    return letter


def owner_of(database: Database, letter: Letter, *, seconds: int = 0) -> tuple[int, str] | None:
    """Return whom the token of a letter belongs to, so many seconds after it was made."""
    now = NOW + timedelta(seconds=seconds)
    owner = database.read(one_time.find, token_of(letter), purpose=letter.kind, now=now)
    return (owner.user_id, owner.email) if owner else None


def set_addresses(sql: Sql, *, verified: str | None, pending: str | None) -> None:
    sql("INSERT INTO auth_emails SELECT id, %s, %s FROM users", verified, pending)


@pytest.mark.parametrize(
    ("kind", "page", "seconds"), [(VERIFY, "verify-email", 7200), (RESET, "reset-password", 600)]
)
def test_link_leads_to_a_page_of_the_frontend_with_the_token_behind_the_hash(
    service: Database, ada: Actor, kind: str, page: str, seconds: int
) -> None:
    letter = written(service, kind, EMAIL, ada.id)

    assert letter
    address = re.escape(f"https://app.streamly.example/{page}#token=")
    assert re.fullmatch(address + "[A-Za-z0-9_-]{43}", letter.link)
    assert (letter.recipient, letter.user.username, letter.expires_seconds) == (EMAIL, "ada", seconds)
    assert letter.details == {"ip": "192.0.2.1"}
    assert owner_of(service, letter, seconds=seconds - 1) == (ada.id, EMAIL)
    assert owner_of(service, letter, seconds=seconds) is None


def test_database_has_the_hash_of_the_token_alone(service: Database, ada: Actor, sql: Sql) -> None:
    letter = written(service, VERIFY, EMAIL, ada.id)

    assert letter
    dump = str(sql("SELECT auth_one_time_tokens::text FROM auth_one_time_tokens"))
    assert token_of(letter) not in dump
    assert token_of(letter).encode().hex() not in dump


@pytest.mark.parametrize("kind", [VERIFY, RESET])
def test_newer_letter_voids_the_older_of_its_kind(service: Database, ada: Actor, kind: str) -> None:
    other = written(service, RESET if kind == VERIFY else VERIFY, EMAIL, ada.id)
    older = written(service, kind, EMAIL, ada.id)
    newer = written(service, kind, EMAIL, ada.id)

    assert other
    assert older
    assert newer
    assert owner_of(service, older) is None
    assert owner_of(service, newer) == owner_of(service, other) == (ada.id, EMAIL)


@pytest.mark.parametrize("typed", ["ada@example.com", "ADA@Example.COM", "Ada@example.com"])
@pytest.mark.parametrize("stored", ["ada@example.com", "Ada@Example.com"])
def test_reset_goes_to_the_address_as_it_is_stored(
    service: Database, ada: Actor, sql: Sql, typed: str, stored: str
) -> None:
    sql("UPDATE users SET email = %s", stored)

    letter = written(service, RESET, typed)

    assert letter
    assert letter.recipient == stored
    assert owner_of(service, letter) == (ada.id, stored)


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param("bob@example.com", id="another"),
        pytest.param(" ada@example.com", id="with a blank"),
        pytest.param("\u00e5da@example.com", id="look-alike"),
        pytest.param("ada@e\u212bample.com", id="folds alike elsewhere"),
        pytest.param("ada", id="username"),
        pytest.param("", id="nothing"),
    ],
)
def test_reset_of_an_address_that_nobody_has_is_no_letter(
    service: Database, ada: Actor, sql: Sql, typed: str
) -> None:
    assert written(service, RESET, typed) is None
    assert sql("SELECT * FROM auth_one_time_tokens") == []


def test_letters_beyond_ascii_do_not_fold(service: Database, ada: Actor, sql: Sql) -> None:
    """Attack: whoever owns K@example.com, with the Kelvin sign, asks for the link of k@example.com."""
    sql("UPDATE users SET email = 'k@example.com'")

    assert written(service, RESET, "\u212a@example.com") is None
    assert written(service, RESET, "\u212a@example.com", ada.id) is None


def test_reset_does_not_go_to_a_pending_address(service: Database, ada: Actor, sql: Sql) -> None:
    set_addresses(sql, verified=EMAIL, pending="new@example.com")

    assert written(service, RESET, "new@example.com") is None
    assert written(service, RESET, "new@example.com", ada.id) is None


def test_reset_of_a_user_whose_email_changed_meanwhile_is_no_letter(
    service: Database, ada: Actor, sql: Sql
) -> None:
    sql("UPDATE users SET email = 'new@example.com'")

    assert written(service, RESET, EMAIL, ada.id) is None


@pytest.mark.parametrize(
    ("verified", "pending", "recipient", "is_due"),
    [
        pytest.param(None, None, EMAIL, True, id="email"),
        pytest.param("old@example.com", None, EMAIL, True, id="email, another was verified"),
        pytest.param(EMAIL, None, EMAIL, False, id="email is verified"),
        pytest.param(EMAIL, "new@example.com", "new@example.com", True, id="pending"),
        pytest.param(None, "new@example.com", "new@example.com", True, id="pending, email not verified"),
        pytest.param(None, "new@example.com", EMAIL, False, id="email, another is pending"),
        pytest.param(EMAIL, "new@example.com", "older@example.com", False, id="pending before"),
        pytest.param(EMAIL, "new@example.com", "New@example.com", False, id="pending in another case"),
        pytest.param(None, None, "Ada@example.com", False, id="email in another case"),
        pytest.param(EMAIL, None, "new@example.com", False, id="not pending any more"),
    ],
)
def test_verification_goes_to_the_address_that_is_to_be_verified(
    service: Database,
    ada: Actor,
    sql: Sql,
    verified: str | None,
    pending: str | None,
    recipient: str,
    *,
    is_due: bool,
) -> None:
    set_addresses(sql, verified=verified, pending=pending)

    letter = written(service, VERIFY, recipient, ada.id)

    assert (letter.recipient if letter else None) == (recipient if is_due else None)
    assert (owner_of(service, letter) if letter else None) == ((ada.id, recipient) if is_due else None)


@pytest.mark.parametrize("kind", [VERIFY, RESET, "password_changed"])
def test_mail_to_a_user_who_is_gone_is_no_letter(service: Database, ada: Actor, sql: Sql, kind: str) -> None:
    mail = outbox.QueuedMail(1, kind, ada.id, EMAIL, {}, tries=1, age_seconds=0)
    sql("DELETE FROM users")

    assert service.write(links.letter, mail, settings=SETTINGS, now=NOW) is None


def test_notice_goes_to_its_recipient_without_a_link(service: Database, ada: Actor, sql: Sql) -> None:
    letter = written(service, "email_changed", "old@example.com", ada.id)

    assert letter
    assert (letter.kind, letter.recipient, letter.user.id) == ("email_changed", "old@example.com", ada.id)
    assert (letter.link, letter.expires_seconds, letter.details) == ("", 0, {"ip": "192.0.2.1"})
    assert sql("SELECT * FROM auth_one_time_tokens") == []


def test_letter_waits_for_whoever_changes_its_user(
    service: Database, settings: Settings, ada: Actor, sql: Sql
) -> None:
    """Race (TOCTOU): the address would change between the look at it and the token for it."""
    service.write(outbox.queue, NewMail(VERIFY, EMAIL, ada.id))
    mail = service.write(outbox.claim)
    assert mail
    with ThreadPoolExecutor(1) as threads:
        with held_open(settings.db_url, "UPDATE users SET email = 'other@example.com'", commit=True):
            letter = threads.submit(service.write, links.letter, mail, settings=SETTINGS, now=NOW)
            wait_until_blocked(settings.db_url, 1)
        assert letter.result(timeout=5) is None
    assert sql("SELECT * FROM auth_one_time_tokens") == []
