"""A worker that is killed at any step of a delivery loses no mail."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.support import mail_queue, service, staged_mail_server
from tests.support.database import run_sql
from tests.support.mail_queue import EMPTY, SOONER
from tests.support.queries import wait_until
from tests.support.staged_mail_server import ACCEPTED, MESSAGE, StagedMailServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mail_server() -> Iterator[StagedMailServer]:
    with staged_mail_server.running() as started:
        yield started


@pytest.fixture(scope="module")
def sending(
    url: str, mail_server: StagedMailServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """A service with two workers that sends mails."""
    environ = mail_queue.environ(mail_queue.register_ada(url), mail_server)
    log = tmp_path_factory.mktemp("service") / "log"
    with service.running(log, before=SOONER, **environ, **service.UNCOUNTED) as started:
        yield started


@pytest.mark.parametrize(
    ("stage", "arrivals"),
    [
        pytest.param("CONNECT", 1, id="after the claim"),
        pytest.param("RCPT", 1, id="before DATA"),
        pytest.param(MESSAGE, 1, id="before the acceptance"),
        pytest.param(ACCEPTED, 2, id="between the acceptance and the note"),
    ],
)
def test_mail_of_a_killed_worker_arrives(
    sending: service.Service, mail_server: StagedMailServer, url: str, stage: str, arrivals: int
) -> None:
    was_killed = threading.Event()

    def kill_workers() -> None:
        for pid in sending.workers():
            os.kill(pid, signal.SIGKILL)
        was_killed.set()
        raise ConnectionAbortedError

    mail_server.received, mail_server.on_stage = [], mail_queue.once_at(stage, kill_workers)
    mail_queue.queue(url, 1)
    assert was_killed.wait(10)
    # PostgreSQL carries out what the killed worker had sent.
    wait_until(url, "(SELECT tries FROM auth_outbox) = 1")
    before = list(mail_server.received)
    run_sql(url, "UPDATE auth_outbox SET due_at = now()")  # the claim ends
    wait_until(url, EMPTY, seconds=20)

    assert before == ["u1@example.com"] * (arrivals - 1)
    assert mail_server.received == ["u1@example.com"] * arrivals


def test_reload_finishes_the_delivery_and_the_next_release_sends_the_others(
    sending: service.Service, mail_server: StagedMailServer, url: str
) -> None:
    may_end = threading.Event()

    def reload() -> None:
        sending.process.send_signal(signal.SIGHUP)
        may_end.wait(2)

    mail_server.received, mail_server.on_stage = [], mail_queue.once_at(MESSAGE, reload)
    recipients = mail_queue.queue(url, 20)
    wait_until(url, EMPTY, seconds=20)

    assert sorted(mail_server.received) == recipients
