"""The thread that sends: what wakes it, what it waits for, and how it stops."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from auth.mail import delivery, outbox, sender
from auth.mail.sender import Sender
from db import Cursor, Database, DatabaseUnavailable
from tests.support.actor import Actor
from tests.support.apps import NO_DATABASE, messages
from tests.support.database import Sql
from tests.support.outgoing import ADDRESS, TEMPLATES, Office, Post, busy, server_down

LogLines = list[dict[str, Any]]


@contextmanager
def running(each: Sender) -> Iterator[Sender]:
    each.start()
    try:
        yield each
    finally:
        each.stop(5)
        assert not each._thread.is_alive()


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 600.0)


def in_a_delivery(office: Office) -> tuple[Sender, threading.Event]:
    """Return a sender in the middle of a delivery, and what ends this delivery."""
    has_begun, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        has_begun.set()
        may_end.wait(10)

    office.post.before = hold
    thread = office.sender()
    thread.start()
    assert has_begun.wait(10)
    return thread, may_end


def eventually(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def ada(ada: Actor, sql: Sql) -> Actor:
    """A user who has verified the email: notices to it are free."""
    sql("INSERT INTO auth_emails (user_id, verified) SELECT id, email FROM users")
    return ada


def test_wake_up_sends_everything_that_is_due_at_once(office: Office, ada: Actor, no_poll: None) -> None:
    with running(office.sender()) as thread:
        for _ in range(5):
            office.queue("new_device", user_id=ada.id)
        thread.wake()
        eventually(lambda: len(office.post.sent) == 5)
        office.queue("new_device", user_id=ada.id)
        thread.wake()
        eventually(lambda: len(office.post.sent) == 6)

    assert office.rows() == []


def test_wake_up_during_a_delivery_is_not_lost(office: Office, ada: Actor, no_poll: None) -> None:
    office.queue("new_device", user_id=ada.id)
    thread = office.sender()
    # The last look into the outbox finds nothing, and the mail comes before the thread waits.
    claim = outbox.claim

    def late(cur: Cursor, **kinds: Any) -> outbox.QueuedMail | None:
        mail = claim(cur, **kinds)
        if mail is None and len(office.post.sent) == 1:
            office.queue("new_device", user_id=ada.id)
            thread.wake()
        return mail

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "claim", late)
        with running(thread):
            eventually(lambda: len(office.post.sent) == 2)


def test_wake_up_is_one_look_into_the_outbox(
    office: Office, no_poll: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr(outbox, "claim", lambda _cur, **_kinds: looks.append(1))

    with running(office.sender()) as thread:
        eventually(lambda: len(looks) == 1)
        thread.wake()
        eventually(lambda: len(looks) == 2)
        time.sleep(0.2)

        assert len(looks) == 2


def test_mail_of_another_process_is_found_by_looking(
    office: Office, ada: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.1)
    with running(office.sender()):
        time.sleep(0.1)
        office.queue("new_device", user_id=ada.id)
        eventually(lambda: office.post.recipients() == [ADDRESS])


def test_looks_of_workers_are_spread() -> None:
    pauses = [sender._poll_seconds() for _ in range(100)]

    assert sender.POLL_SECONDS == 5
    assert 2.5 <= min(pauses) < 3.5
    assert 6.5 < max(pauses) <= 7.5


def test_mail_server_that_comes_back_gets_all_mails(
    office: Office, ada: Actor, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    monkeypatch.setattr("auth.mail.retries.outage_seconds", lambda failures, jitter: 0.05)
    for _ in range(10):
        office.queue("new_device", user_id=ada.id)
    office.post.always = server_down()

    with running(office.sender()):
        eventually(lambda: office.post.calls > 5)
        office.post.always = None
        eventually(lambda: office.rows() == [])

    assert office.post.recipients() == [ADDRESS] * 10
    [line] = messages(log_lines, "WARNING")
    assert line.startswith("mail_server_unavailable: mails wait, the next try is in ")
    assert line.endswith(": the mail server cannot be reached: Connection refused")


def test_wake_ups_during_an_outage_open_no_connections(office: Office, ada: Actor) -> None:
    for _ in range(20):
        office.queue("new_device", user_id=ada.id)
    office.post.always = server_down()

    with running(office.sender()) as thread:
        eventually(lambda: office.post.calls == 1)
        for _ in range(50):
            thread.wake()
            time.sleep(0.01)

    assert office.post.calls == 1
    assert [tries for (tries,) in office.rows("tries")].count(0) == 19


def test_pauses_of_an_outage_grow_and_end_with_a_mail_that_is_sent(office: Office, ada: Actor) -> None:
    pauses = []
    office.queue("new_device", user_id=ada.id)
    for failure in [server_down(), server_down(), server_down(), None, server_down()]:
        office.post.always = failure
        office.sql("UPDATE auth_outbox SET due_at = now()")
        if failure:
            with pytest.raises(delivery.ServerUnavailable) as caught:
                office.delivery.send(office.claim(), claimed_at=time.monotonic())
            pauses.append(caught.value.pause_seconds)
        else:
            office.send_next()
            office.queue("new_device", user_id=ada.id)

    assert pauses[0] < pauses[1] < pauses[2]
    assert pauses[3] < pauses[1]


def test_mail_that_fails_keeps_no_other_waiting(office: Office, ada: Actor, no_poll: None) -> None:
    for _ in range(5):
        office.queue("new_device", user_id=ada.id)
    office.post.failures = [busy(), ZeroDivisionError()]

    with running(office.sender()):
        eventually(lambda: len(office.post.sent) == 3)

    assert [tries for (tries,) in office.rows("tries")] == [1, 1]


def test_thread_survives_a_database_that_is_away(
    office: Office, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.05)
    away = Sender(Database(NO_DATABASE), replace(office.auth.settings), Post(), TEMPLATES)

    with running(away):
        time.sleep(0.5)
        assert away._thread.is_alive()

    lines = [line for line in messages(log_lines, "WARNING") if line.startswith("outbox_unavailable: ")]
    assert len(lines) == 1
    assert "hunter2" not in str(log_lines)


def test_thread_survives_a_failure_that_nobody_expects(
    office: Office, ada: Actor, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.05)
    claim, failures = outbox.claim, [ZeroDivisionError(), ZeroDivisionError()]

    def fail_first(cur: Cursor, **kinds: Any) -> outbox.QueuedMail | None:
        if failures:
            raise failures.pop()
        return claim(cur, **kinds)

    monkeypatch.setattr(outbox, "claim", fail_first)
    office.queue("new_device", user_id=ada.id)
    with running(office.sender()):
        eventually(lambda: office.post.recipients() == [ADDRESS])

    assert messages(log_lines, "ERROR") == ["mail_sender_failed"] * 2


def test_mail_that_is_sent_while_the_database_fails_is_noted_later(
    office: Office, ada: Actor, no_poll: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "NOTE_PAUSE_SECONDS", 0.05)
    remove, failures = outbox.remove, [DatabaseUnavailable("down")] * 4

    def fail_first(cur: Cursor, mail: outbox.QueuedMail) -> bool:
        if failures:
            raise failures.pop()
        return remove(cur, mail)

    monkeypatch.setattr(outbox, "remove", fail_first)
    office.queue("new_device", user_id=ada.id)
    with running(office.sender()):
        eventually(lambda: office.rows() == [])

    assert office.post.recipients() == [ADDRESS]


def test_database_that_fails_before_the_delivery_ends_the_claim(
    office: Office, ada: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("every pooled connection stayed in use")

    office.queue("reset_password")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auth.mail.links.letter", fail)
        with pytest.raises(DatabaseUnavailable):
            office.delivery.send(office.claim(), claimed_at=time.monotonic())

    assert office.rows() == [(1, False, "the database was not available")]
    assert office.due_in() <= 36


def test_stop_waits_for_the_delivery_and_claims_no_other(office: Office, ada: Actor, no_poll: None) -> None:
    for _ in range(3):
        office.queue("new_device", user_id=ada.id)
    thread, may_end = in_a_delivery(office)
    threading.Timer(0.3, may_end.set).start()

    thread.stop(5)

    assert not thread._thread.is_alive()
    assert len(office.post.sent) == 1
    assert office.rows("tries") == [(0,), (0,)]


def test_stop_waits_no_longer_than_it_may(office: Office, ada: Actor, no_poll: None) -> None:
    office.queue("new_device", user_id=ada.id)
    thread, may_end = in_a_delivery(office)

    began_at = time.monotonic()
    thread.stop(0.2)
    seconds = time.monotonic() - began_at

    may_end.set()
    thread._thread.join(5)
    assert 0.2 <= seconds < 2
    assert office.rows() == []


def test_stop_of_a_thread_that_never_started_returns_at_once(office: Office) -> None:
    office.sender().stop(5)
