"""`flask --app app mail retry`."""

import pytest
from flask import Flask

from auth.mail import outbox, waiting
from db import Database
from tests.features.mail_admin.conftest import Queue, Run
from tests.support.database import Sql

DOWN = "the mail server cannot be reached: Connection refused"


@pytest.fixture
def database(service: Flask) -> Database:
    found: Database = service.extensions["auth"].database
    return found


def claimed(database: Database) -> list[outbox.QueuedMail]:
    """Claim every mail that is due, as the senders do."""
    mails = []
    while mail := database.write(outbox.claim):
        mails.append(mail)
    return mails


def test_retry_makes_postponed_and_given_up_mails_due(run: Run, queue: Queue, database: Database) -> None:
    queue(tries=3, due_in="1 h", last_error=DOWN)
    queue(age="2 days", tries=30, due_in="-1 day", last_error=DOWN, given_up=True)
    queue()
    before = claimed(database)

    outcome = run("retry")

    assert len(before) == 1
    assert outcome == (0, "Mails that are due now: 2\n")
    assert sorted(mail.tries for mail in claimed(database)) == [4, 31]


def test_retry_gives_a_given_up_mail_another_day(run: Run, queue: Queue, database: Database) -> None:
    queue(age="2 days", tries=30, last_error=DOWN, given_up=True)

    run("retry")

    (mail,) = claimed(database)
    assert mail.age_seconds < 60


def test_retry_keeps_the_age_and_the_turn_of_a_mail_that_waits(
    run: Run, queue: Queue, database: Database
) -> None:
    postponed = queue(age="1 h", tries=3, due_in="1 h", last_error=DOWN)
    overdue = queue(age="2 h", due_in="-1 h")

    assert run("retry") == (0, "Mails that are due now: 2\n")

    mails = claimed(database)
    assert [mail.id for mail in mails] == [overdue, postponed]
    assert [mail.age_seconds // 3600 for mail in mails] == [2, 1]


@pytest.mark.parametrize("earlier", [{}, {"tries": 5, "last_error": DOWN}], ids=["first try", "later try"])
def test_retry_leaves_a_mail_alone_that_a_worker_sends(
    run: Run, queue: Queue, database: Database, earlier: dict[str, object]
) -> None:
    queue(**earlier)
    (mail,) = claimed(database)

    outcome = run("retry")

    assert outcome == (0, "Mails that are due now: 0\n")
    assert claimed(database) == []
    database.write(outbox.remove, mail)
    assert database.read(waiting.count) == 0


def test_retry_makes_the_mail_of_a_killed_worker_due(
    run: Run, queue: Queue, database: Database, sql: Sql
) -> None:
    queue()
    claimed(database)
    sql("UPDATE auth_outbox SET due_at = now() - INTERVAL '1 s'")  # the claim has ended

    assert run("retry") == (0, "Mails that are due now: 1\n")
    assert len(claimed(database)) == 1
