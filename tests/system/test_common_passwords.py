"""The list of common passwords under gunicorn: one sentence without it, one copy for all workers with it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import SECRET_KEY, service
from tests.support.actor import REGISTER, VALIDATION_FAILED, Actor, HttpClient, refusal
from tests.support.database import MakeDatabase

pytestmark = pytest.mark.slow

LIST = "runtime/common_passwords.txt"


def start(code: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run gunicorn until it has refused the start, or has read its configuration and made the app."""
    required = {"DB_URL": "postgresql://127.0.0.1:1/none", "SECRET_KEY": SECRET_KEY}
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", "--check-config"],
        cwd=code,
        env=service.ENVIRON | required | environ,
        capture_output=True,
        text=True,
    )


def test_start_without_the_list_is_one_line(tmp_path: Path) -> None:
    code = service.copy_code(tmp_path / "code")
    (code / LIST).unlink()

    done = start(code)

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"The service cannot start: PASSWORD_BLOCKLIST needs {code / LIST} (No such file or directory)."
    ]


def test_start_without_the_list_and_without_the_blocklist_succeeds(tmp_path: Path) -> None:
    code = service.copy_code(tmp_path / "code")
    (code / LIST).unlink()

    done = start(code, PASSWORD_BLOCKLIST="off")

    assert (done.returncode, done.stderr) == (0, "")


def test_workers_share_the_list_that_the_first_process_has_read(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"}
    with service.running(tmp_path / "log", GUNICORN_WORKERS="1", **environ) as running:
        (running.code / LIST).write_bytes(b"")  # a deployment begins to overwrite it
        (first,) = running.workers()
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while not running.workers() or first in running.workers():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        actor = Actor(HttpClient(running.url))

        answer = actor.send("POST", REGISTER, {**body(actor), "password": "password123"})
        actor.register()

    assert refusal(answer) == VALIDATION_FAILED
    written = [json.loads(line)["message"] for line in running.log.read_text().splitlines()]
    assert not [line for line in written if "PASSWORD_BLOCKLIST" in line]


def test_no_process_keeps_the_list_open(make_database: MakeDatabase, tmp_path: Path) -> None:
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY}
    with service.running(tmp_path / "log", **environ) as running:
        processes = [running.process.pid, *running.workers()]
        opened = [os.readlink(path) for pid in processes for path in Path(f"/proc/{pid}/fd").iterdir()]
        mapped = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in processes)

    assert not [name for name in opened if name.endswith(LIST)]
    assert LIST not in mapped


def body(actor: Actor) -> dict[str, str]:
    return {"username": actor.username, "email": actor.email}
