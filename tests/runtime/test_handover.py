"""SIGHUP: either all code and settings are those of the new release, or all stay those of the old one."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.support import SECRET_KEY, service
from tests.support.database import MakeDatabase

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(
    make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "GUNICORN_WORKERS": "1"}
    with service.running(log, **environ) as started:
        yield started


def rewrite(running: service.Service, name: str, *changes: tuple[str, str]) -> None:
    """Change a file of the running service's folder, as a deployment does."""
    path = running.code / name
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def lines(running: service.Service) -> list[str]:
    """Return the messages of the log; what is not yet a whole line is left out."""
    return [json.loads(line)["message"] for line in running.log.read_text().splitlines()]


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def hang_up(running: service.Service) -> None:
    """Send SIGHUP and wait until new workers serve and the old ones have ended."""
    before = set(running.workers())
    running.process.send_signal(signal.SIGHUP)
    until(lambda: bool(running.workers()) and not before & set(running.workers()))
    until(lambda: requests.get(f"{running.url}/health/live", timeout=5).status_code == 200)


def descriptors(running: service.Service) -> list[str]:
    return [os.readlink(path) for path in Path(f"/proc/{running.process.pid}/fd").iterdir()]


def test_hangup_serves_nothing_but_the_new_release(running: service.Service) -> None:
    # A name that changes on both sides of an import (in gunicorn.conf.py and in a worker), a module that only
    # workers import, a new module, the worker class, the logger, and .env.
    rewrite(running, "config.py", ("read_environment", "read_variables"))
    rewrite(running, "app.py", ("read_environment", "read_variables"))
    rewrite(running, "gunicorn.conf.py", ("read_environment", "read_variables"))
    rewrite(running, "runtime/client_connection.py", ("request_refused", "new_request_refused"))
    (running.code / "novelty.py").write_text('SENTENCE = "alive since the release"\n')
    rewrite(
        running,
        "ops/health.py",
        ('"alive"', "novelty.SENTENCE"),
        ("import time", "import time\nimport novelty"),
    )
    rewrite(
        running, "runtime/logs.py", ('"logger": record', '"new_logger": record'), ('"request", ', '"asked", ')
    )
    rewrite(
        running,
        "runtime/worker.py",
        ("super().init_process()", 'self.log.info("new class"); super().init_process()'),
    )
    (running.code / ".env").write_text("CORS_ORIGINS=https://new.example\n")

    hang_up(running)

    answer = requests.get(f"{running.url}/health/live", headers={"Origin": "https://new.example"}, timeout=5)
    assert answer.json() == {"status": "alive since the release"}
    assert answer.headers["Access-Control-Allow-Origin"] == "https://new.example"
    until(lambda: "asked" in lines(running))
    written = [json.loads(line) for line in running.log.read_text().splitlines()]
    assert {"new_logger", "message"} <= next(
        line for line in written if line["message"] == "new class"
    ).keys()
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 400")
    until(lambda: "new_request_refused status=400 remote_addr=127.0.0.1" in lines(running))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        pytest.param(".env", "LOG_LEVEL=LOUD\n", "LOG_LEVEL must be one of", id="bad setting"),
        pytest.param("db.py", "def broken(:\n", "SyntaxError", id="broken module of both sides"),
        pytest.param(
            "auth/tokens/access.py", "import nowhere\n", "No module named 'nowhere'", id="broken module"
        ),
        pytest.param(
            "gunicorn.conf.py", "nothing\n", "name 'nothing' is not defined", id="broken gunicorn.conf.py"
        ),
        pytest.param("ops/openapi.py", "def init_app() -> None: ...\n", "TypeError", id="create_app() fails"),
        pytest.param("schema.sql", None, "No such file or directory", id="file that only the database needs"),
        pytest.param(
            "runtime/common_passwords.txt", None, "PASSWORD_BLOCKLIST needs", id="no list of common passwords"
        ),
        pytest.param(
            "runtime/common_passwords.txt", "password\n", "is damaged", id="damaged list of common passwords"
        ),
    ],
)
def test_hangup_with_what_cannot_start_leaves_the_workers_serving(
    running: service.Service, name: str, text: str | None, reason: str
) -> None:
    path = running.code / name
    good = path.read_text()
    workers = running.workers()
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    try:
        running.process.send_signal(signal.SIGHUP)
        until(lambda: any(line.startswith("reload_refused: ") and reason in line for line in lines(running)))
    finally:
        path.write_text(good)

    assert running.workers() == workers
    assert requests.get(f"{running.url}/health/live", timeout=5).status_code == 200


def test_hangups_leak_no_descriptor(running: service.Service) -> None:
    for _ in range(2):
        hang_up(running)
    before = descriptors(running)

    for _ in range(2):
        hang_up(running)

    assert len(descriptors(running)) <= len(before)
