"""A worker that ends is replaced, also if the files of the service were broken since the start."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from tests.support import SECRET_KEY, service
from tests.support.actor import ME
from tests.support.database import MakeDatabase
from tests.support.development import wait_until
from tests.support.raw_http import wait_for_log

pytestmark = pytest.mark.slow

SOONER = (
    "sed -i 's/^LOADED_SECONDS = [0-9.]*/LOADED_SECONDS = 2.0/' gunicorn.conf.py;"
    " sed -i 's/^RELOAD_PAUSE_SECONDS = [0-9.]*/RELOAD_PAUSE_SECONDS = 0.5/' runtime/worker.py"
)


@pytest.fixture
def running(
    make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"}
    with service.running(log, before=SOONER, **environ) as started:
        assert wait_until(lambda: len(started.workers()) == 2)
        yield started


def status_of(running: service.Service) -> int:
    """Return the status of a call without a token, once a worker answers it."""
    for _ in range(10):
        with suppress(requests.ConnectionError):
            return requests.get(running.url + ME, timeout=10).status_code
    raise AssertionError("no worker answers")


def break_code(running: service.Service) -> str:
    """Append an error to a module, and return the whole text before."""
    module = running.code / "auth" / "users.py"
    whole = module.read_text()
    module.write_text(f"{whole}\n(")
    return whole


def test_broken_file_stops_no_service_in_which_others_serve(running: service.Service) -> None:
    first, second = running.workers()
    whole = break_code(running)
    time.sleep(2.5)  # the other worker counts as loaded

    os.kill(first, signal.SIGKILL)
    wait_for_log(running, "worker_not_loaded: ")
    during = status_of(running)
    (running.code / "auth" / "users.py").write_text(whole)

    assert wait_until(lambda: len(running.workers()) == 2 and first not in running.workers())
    assert wait_until(lambda: running.log.read_text().count("Booting worker") >= 4)
    os.kill(second, signal.SIGKILL)
    assert (during, status_of(running)) == (401, 401)
    assert running.process.poll() is None


def test_service_ends_when_nobody_can_serve(running: service.Service) -> None:
    break_code(running)

    for pid in running.workers():
        os.kill(pid, signal.SIGKILL)

    assert running.process.wait(20) != 0
