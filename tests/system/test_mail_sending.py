"""Several workers send each mail once, and a worker that stops finishes the mail that goes out."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import mail_queue, replicas, service, staged_mail_server
from tests.support.database import run_sql
from tests.support.mail_queue import EMPTY, SOONER
from tests.support.queries import wait_until
from tests.support.staged_mail_server import MESSAGE, StagedMailServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mail_url(url: str) -> str:
    return mail_queue.register_ada(url)


@pytest.fixture
def mail_server(mail_url: str) -> Iterator[StagedMailServer]:
    run_sql(mail_url, "DELETE FROM auth_outbox")
    with staged_mail_server.running() as started:
        yield started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_delivery_is_finished_and_noted_when_the_service_stops(
    mail_server: StagedMailServer, mail_url: str, tmp_path: Path, number: int
) -> None:
    is_delivering = threading.Event()

    def deliver_slowly() -> None:
        is_delivering.set()
        time.sleep(2)

    environ = mail_queue.environ(mail_url, mail_server) | {"GUNICORN_WORKERS": "1"}
    with service.running(tmp_path / "log", before=SOONER, **environ) as started:
        mail_server.on_stage = mail_queue.once_at(MESSAGE, deliver_slowly)
        mail_queue.queue(mail_url, 3)
        assert is_delivering.wait(10)
        started.process.send_signal(number)
        assert started.process.wait(15) == 0

    assert len(mail_server.received) == 1
    assert run_sql(mail_url, "SELECT tries FROM auth_outbox") == [(0,), (0,)]
    log = started.log.read_text()
    assert log.count("mail_sent ") == 1
    assert '"exception"' not in log


def test_delivery_that_takes_too_long_does_not_keep_the_service_from_stopping(
    mail_server: StagedMailServer, mail_url: str, tmp_path: Path
) -> None:
    is_delivering, may_end = threading.Event(), threading.Event()

    def hang() -> None:
        is_delivering.set()
        may_end.wait(30)
        raise ConnectionAbortedError

    before = f"{SOONER}; sed -i 's/^STOP_SECONDS = [0-9.]*/STOP_SECONDS = 0.5/' gunicorn.conf.py"
    environ = mail_queue.environ(mail_url, mail_server) | {"GUNICORN_WORKERS": "1"}
    with service.running(tmp_path / "log", before=before, **environ) as started:
        mail_server.on_stage = mail_queue.once_at(MESSAGE, hang)
        mail_queue.queue(mail_url, 1)
        assert is_delivering.wait(10)
        began_at = time.monotonic()
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(15) == 0
        seconds = time.monotonic() - began_at
    may_end.set()

    assert seconds < 5
    assert mail_server.received == []
    assert run_sql(
        mail_url, "SELECT tries, given_up, due_at < now() + INTERVAL '300 s' FROM auth_outbox"
    ) == [(1, False, True)]


def test_two_replicas_send_each_of_500_mails_once(
    mail_server: StagedMailServer, mail_url: str, tmp_path: Path
) -> None:
    environ = mail_queue.environ(mail_url, mail_server)
    del environ["DB_URL"], environ["SECRET_KEY"]  # these are those of the replicas

    with replicas.running(tmp_path, mail_url, seconds_fast=0, **environ):
        recipients = mail_queue.queue(mail_url, 500)
        deadline = time.monotonic() + 60
        while len(mail_server.received) < len(recipients):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        wait_until(mail_url, EMPTY)

    assert sorted(mail_server.received) == recipients
    for name in ("first", "second"):
        assert (tmp_path / name).read_text().count("mail_sent ") > 20
