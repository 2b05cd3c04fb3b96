"""What becomes of a claimed mail: sent, dropped, postponed or given up; and what the operator reads of it."""

import time
from typing import Any

import pytest

from auth.mail import delivery, outbox, smtp
from auth.mail.connection import QUIT_SECONDS
from auth.mail.messages import BrokenTemplate
from auth.mail.outbox import CLAIM_SECONDS
from tests.support.actor import Actor, ClientOf
from tests.support.apps import messages
from tests.support.database import Sql
from tests.support.mails import mail_settings
from tests.support.outgoing import ADDRESS, Office, busy, office_of, refused, server_down
from tests.support.queries import scalar

LINK_KINDS = ["verify_email", "reset_password"]
NOTICES = ["password_changed", "password_reset", "account_locked", "new_device"]
NOTICES += ["two_factor_on", "two_factor_off", "recovery_code_used"]
LogLines = list[dict[str, Any]]


def of_mail(log_lines: LogLines) -> list[tuple[str, str]]:
    return [(line["level"], line["message"]) for line in log_lines if line["logger"] == "mail"]


def mail_id(office: Office) -> int:
    return int(office.rows("id")[0][0])


@pytest.mark.parametrize("kind", LINK_KINDS + NOTICES)
def test_accepted_mail_is_sent_once_and_its_row_is_gone(
    office: Office, ada: Actor, kind: str, log_lines: LogLines
) -> None:
    office.queue(kind, user_id=None if kind == "reset_password" else ada.id)
    number = mail_id(office)

    office.send_next()

    assert office.post.recipients() == [ADDRESS]
    assert office.rows() == []
    assert of_mail(log_lines) == [("INFO", f"mail_sent id={number} kind={kind} user_id={ada.id}")]


def test_mail_goes_out_while_no_connection_is_in_use(client_of: ClientOf, ada: Actor, sql: Sql) -> None:
    office = office_of(client_of(mail=mail_settings(), db_pool_size=1).application, sql)
    office.post.before = lambda: office.auth.database.read(scalar)  # PoolExhausted, if the one is in use
    office.queue("verify_email", user_id=ada.id)

    office.send_next()

    assert office.post.recipients() == [ADDRESS]


@pytest.mark.parametrize(
    ("kind", "recipient"),
    [
        pytest.param("reset_password", "nobody@example.com", id="no such user"),
        pytest.param("verify_email", "old@example.com", id="another address"),
    ],
)
def test_mail_without_a_reason_is_dropped(
    office: Office, ada: Actor, kind: str, recipient: str, log_lines: LogLines
) -> None:
    user_id = ada.id if kind == "verify_email" else None
    office.queue(kind, recipient, user_id=user_id)
    number = mail_id(office)

    office.send_next()

    assert (office.post.calls, office.rows()) == (0, [])
    assert of_mail(log_lines) == [("INFO", f"mail_dropped id={number} kind={kind} user_id={user_id}")]


def test_mails_of_a_user_who_is_deleted_do_not_go_out(office: Office, ada: Actor, sql: Sql) -> None:
    office.queue("new_device", user_id=ada.id)
    office.queue("reset_password")
    notice, at = office.claim(), time.monotonic()
    sql("DELETE FROM users")

    office.delivery.send(notice, claimed_at=at)
    office.send_next()

    assert (office.post.calls, office.rows()) == (0, [])


def test_busy_server_postpones_the_mail(office: Office, ada: Actor, log_lines: LogLines) -> None:
    office.queue("new_device", user_id=ada.id)
    office.post.failures = [busy()]

    office.send_next()

    cause = "the mail server answered RCPT with 450: try later"
    assert office.rows() == [(1, False, cause)]
    assert 20 < office.due_in() <= 36
    [(level, message)] = of_mail(log_lines)
    assert level == "INFO"
    assert message.startswith(f"mail_postponed id={mail_id(office)} kind=new_device user_id={ada.id}: in ")


def test_pause_grows_with_the_age_of_the_mail(office: Office, ada: Actor) -> None:
    office.queue("new_device", user_id=ada.id)
    office.post.always = busy()
    pauses = []
    for interval in ("10 s", "290 s", "2 h"):
        office.let_pass(interval)
        office.send_next()
        pauses.append(office.due_in())

    assert 20 < pauses[0] <= 36
    assert 230 < pauses[1] <= 370
    assert 2870 < pauses[2] <= 4320


@pytest.mark.parametrize(
    ("interval", "failure"),
    [
        pytest.param("1 s", refused(), id="refused for good"),
        pytest.param("1 day", busy(), id="busy for a day"),
        pytest.param("1 day", server_down(), id="down for a day"),
        pytest.param("1 day", ZeroDivisionError(), id="poison for a day"),
    ],
)
def test_mail_is_given_up_with_one_line(
    office: Office, ada: Actor, interval: str, failure: Exception, log_lines: LogLines
) -> None:
    office.queue("new_device", user_id=ada.id)
    office.let_pass(interval)
    office.post.failures = [failure]

    office.send_next()

    [(_, given_up, last_error)] = office.rows()
    lines = [text for text in messages(log_lines, "WARNING") if text.startswith("mail_given_up")]
    assert (given_up, bool(last_error)) == (True, True)
    assert len(lines) == 1
    assert f"user_id={ada.id} tries=1: {last_error}; remove the cause and run `flask" in lines[0]
    assert office.auth.database.write(outbox.claim) is None


def test_mail_that_waited_for_a_day_is_tried_before_it_is_given_up(office: Office, ada: Actor) -> None:
    office.queue("new_device", user_id=ada.id)
    office.let_pass("2 days")

    office.send_next()

    assert office.post.recipients() == [ADDRESS]


def test_poison_mail_is_postponed_and_logged_without_its_text(
    office: Office, ada: Actor, log_lines: LogLines
) -> None:
    office.queue("new_device", user_id=ada.id)
    office.post.failures = [ZeroDivisionError(f"mail to {ADDRESS}")]

    office.send_next()

    assert office.rows() == [(1, False, "unexpected ZeroDivisionError, see mail_failed in the log")]
    assert [line["exception"] for line in log_lines if "exception" in line] == ["ZeroDivisionError"]
    assert ADDRESS not in str(log_lines)


def test_template_that_fails_is_the_operators_matter(
    office: Office, ada: Actor, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BrokenTemplate("/etc/mails/new_device.txt, line 3: 'x' is undefined")

    monkeypatch.setattr("auth.mail.messages.Templates.compose", fail)
    for _ in range(2):
        office.queue("new_device", user_id=ada.id)

    office.send_next()
    office.send_next()

    cause = "/etc/mails/new_device.txt, line 3: 'x' is undefined"
    assert office.rows() == [(1, False, cause)] * 2
    [line] = messages(log_lines, "ERROR")
    assert line.startswith("mail_not_composed ")
    assert line.endswith(f": mend the template: {cause}")


def test_address_that_no_header_takes_is_given_up(office: Office, ada: Actor) -> None:
    office.queue("new_device", "ada@exam ple.com", user_id=ada.id)

    office.send_next()

    [(tries, given_up, _)] = office.rows()
    assert (tries, given_up, office.post.calls) == (1, True, 0)


@pytest.mark.parametrize("recipient", [ADDRESS, "x@y.example\r\nBcc: z@y.example"])
def test_note_of_a_failure_has_no_address_link_or_token(
    office: Office, ada: Actor, recipient: str, log_lines: LogLines
) -> None:
    token = "A" * 42 + "-"
    office.queue("reset_password")
    office.post.failures = [
        busy(
            f"554 <{ADDRESS}>: blocked\r\nhttps://app.example/x#token={token} ü {token} {recipient}"
            + " x" * 300
        )
    ]

    office.send_next()

    [(_, _, last_error)] = office.rows()
    for secret in (ADDRESS, "y.example", token, "https", "\r", "\n"):
        assert secret not in last_error
        assert secret not in str(of_mail(log_lines))
    assert last_error.startswith("554 <hidden> blocked <hidden> ? <hidden> ")
    assert len(last_error) == 300
    assert last_error.isascii()


def test_claim_that_is_old_is_left_to_the_next_worker(
    office: Office, ada: Actor, log_lines: LogLines
) -> None:
    office.queue("new_device", user_id=ada.id)
    mail = office.claim()
    before = office.rows("tries, due_at, given_up, last_error")

    office.delivery.send(mail, claimed_at=time.monotonic() - delivery.BEGIN_SECONDS - 1)

    assert office.post.calls == 0
    assert office.rows("tries, due_at, given_up, last_error") == before
    [line] = messages(log_lines, "WARNING")
    assert line.startswith("mail_claim_over ")


def test_delivery_that_begins_in_time_ends_before_the_claim() -> None:
    note_seconds = 30  # a restart of PostgreSQL

    assert delivery.BEGIN_SECONDS + smtp.DELIVERY_SECONDS + QUIT_SECONDS + note_seconds < CLAIM_SECONDS


def test_statement_that_is_refused_fails_its_mail_alone(
    office: Office, ada: Actor, sql: Sql, log_lines: LogLines
) -> None:
    sql("ALTER TABLE auth_one_time_tokens ADD CONSTRAINT refusal CHECK (purpose <> 'verify_email') NOT VALID")
    try:
        office.queue("verify_email", user_id=ada.id)
        office.send_next()
        postponed = office.rows()
        office.let_pass("25 hours")
        office.send_next()
    finally:
        sql("ALTER TABLE auth_one_time_tokens DROP CONSTRAINT refusal")

    [(tries, given_up, error)] = postponed
    assert (tries, given_up) == (1, False)
    assert "sqlstate=23514" in error
    assert office.rows("given_up") == [(True,)]
    assert [line for line in messages(log_lines, "WARNING") if line.startswith("mail_given_up ")]


def test_slow_worker_does_not_void_the_link_of_the_one_that_took_over(
    office: Office, ada: Actor, sql: Sql, log_lines: LogLines
) -> None:
    office.queue("verify_email", user_id=ada.id)
    slow, at = office.claim(), time.monotonic()
    office.make_due()
    office.send_next()
    before = sql("SELECT auth_one_time_tokens::TEXT FROM auth_one_time_tokens")

    office.delivery.send(slow, claimed_at=at)

    assert len(office.post.sent) == 1
    assert sql("SELECT auth_one_time_tokens::TEXT FROM auth_one_time_tokens") == before
    assert [message.split()[0] for _, message in of_mail(log_lines)] == ["mail_sent"]
