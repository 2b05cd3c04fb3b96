"""A worker that ends is replaced, also if the files of the service were broken since the start."""

import os
import signal
from contextlib import suppress

import pytest
import requests

from tests.support import SECRET_KEY, service
from tests.support.actor import ME
from tests.support.database import MakeDatabase
from tests.support.development import wait_until
from tests.support.raw_http import wait_for_log

pytestmark = pytest.mark.slow


def status_of(running: service.Service) -> int:
    """Return the status of a call without a token, once a worker answers it."""
    for _ in range(10):
        with suppress(requests.ConnectionError):
            return requests.get(running.url + ME, timeout=10).status_code
    raise AssertionError("no worker answers")


def test_broken_file_stops_no_service(
    make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("service") / "log"
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"}
    with service.running(log, **environ) as running:
        assert wait_until(lambda: len(running.workers()) == 2)
        module = running.code / "auth" / "users.py"
        whole = module.read_text()
        first, second = running.workers()

        module.write_text(f"{whole}\n(")
        os.kill(first, signal.SIGKILL)
        wait_for_log(running, "worker_not_loaded: the others serve on: ")
        during = status_of(running)
        module.write_text(whole)
        os.kill(second, signal.SIGKILL)

        assert wait_until(lambda: len(set(running.workers()) - {first, second}) == 2)
        assert (during, status_of(running)) == (401, 401)
        assert running.process.poll() is None
