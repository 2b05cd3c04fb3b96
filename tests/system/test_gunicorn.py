"""The service as production starts it: several workers, signals, the log and the sockets."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.support import SECRET_KEY, service
from tests.support.actor import Actor, HttpClient
from tests.support.database import MakeDatabase, run_sql
from tests.support.raw_http import raw_answer, seconds_of_health, wait_for_log

pytestmark = pytest.mark.slow


def wait_for_workers(running: service.Service, count: int) -> list[int]:
    deadline = time.monotonic() + 10
    while len(running.workers()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return running.workers()


def test_four_workers_that_start_at_once_on_an_empty_database_all_serve(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "GUNICORN_WORKERS": "4"}

    with service.running(log, **environ) as started:
        for _ in range(20):
            assert requests.get(f"{started.url}/health", timeout=10).status_code == 200
        workers = wait_for_workers(started, 4)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(workers) == 4
    assert [line for line in lines if line["level"] in ("ERROR", "CRITICAL")] == []
    assert "schema_applied" in log.read_text()


def test_every_line_of_the_log_is_json_and_sigterm_ends_with_status_0(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    environ = {"DB_URL": make_database(), "SECRET_KEY": "short", "FLASK_DEBUG": "1"}

    with service.running(log, **environ) as started:
        requests.post(f"{started.url}/api/auth/login", data="{", timeout=10)
        ada = Actor(HttpClient(started.url)).register()
        run_sql(environ["DB_URL"], "UPDATE users SET created_at = '20000-01-01'")  # no date of Python's
        broken = ada.try_log_in()

    messages = [json.loads(line)["message"] for line in log.read_text().splitlines()]
    assert (broken.status_code, broken.get_json()["code"]) == (500, "internal_error")
    assert started.process.returncode == 0
    assert any(message.startswith("insecure_setting: SECRET_KEY is shorter") for message in messages)
    assert "FLASK_DEBUG only means LOG_LEVEL=DEBUG here: no debugger under gunicorn" in messages


def test_sigterm_lets_requests_in_flight_finish(make_database: MakeDatabase, tmp_path: Path) -> None:
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "12"}

    with service.running(tmp_path / "log", **environ) as started, ThreadPoolExecutor(8) as threads:
        actors = [Actor(HttpClient(started.url), f"u{n}") for n in range(8)]
        in_flight = [threads.submit(actor.register) for actor in actors]
        time.sleep(0.3)
        started.process.send_signal(signal.SIGTERM)
        for registration in in_flight:
            registration.result()

    assert all("token" in actor.pair for actor in actors)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this kernel has no IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_service_listens_on_both_versions_of_ip(running: service.Service, host: str) -> None:
    assert raw_answer(running, host=host).startswith(b"HTTP/1.1 200")

    wait_for_log(
        running, f'"path": "/health/live", "status": 200, "duration_ms": [0-9.]+, "remote_addr": "{host}"'
    )


def test_log_says_at_the_start_what_was_chosen_and_why(running: service.Service) -> None:
    messages = [json.loads(line)["message"] for line in running.log.read_text().splitlines()]

    (capacity,) = [message for message in messages if message.startswith("capacity: ")]
    assert "GUNICORN_WORKERS=2 (set) GUNICORN_THREADS=" in capacity
    assert "DB_POOL_SIZE=8, at most 18 connections; " in capacity
    assert f" of the machine's {os.cpu_count()} cores" in capacity


@pytest.mark.parametrize(("variables", "seconds"), [({}, 75), ({"KEEPALIVE_SECONDS": "30"}, 30)])
def test_idle_connections_are_kept_as_long_as_is_set(
    tmp_path: Path, variables: dict[str, str], seconds: int
) -> None:
    environ = {"DB_URL": "postgresql://127.0.0.1:1/none", "SECRET_KEY": SECRET_KEY} | variables

    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--print-config"],
        cwd=service.copy_code(tmp_path / "code"),
        env=service.ENVIRON | environ,
        capture_output=True,
        text=True,
    )

    assert re.search(rf"^keepalive += {seconds}$", done.stdout, re.MULTILINE)


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    code = service.copy_code(tmp_path / "code")
    addresses = code / "runtime/addresses.py"
    addresses.write_text(addresses.read_text().replace("PORT_WAIT_SECONDS = 5.0", "PORT_WAIT_SECONDS = 0.1"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environ = {"DB_URL": "postgresql://127.0.0.1:1/none", "SECRET_KEY": SECRET_KEY, "PORT": port}
        done = subprocess.run(
            [sys.executable, "-m", "gunicorn"],
            cwd=code,
            env=service.ENVIRON | environ,
            capture_output=True,
            text=True,
        )

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"Port {port} cannot be used (Address already in use): choose another with PORT."
    ]
    assert '"ERROR"' not in done.stdout


def test_killed_worker_is_replaced_while_the_others_serve(running: service.Service) -> None:
    before = running.workers()

    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while before[0] in running.workers():
        assert time.monotonic() < deadline
        assert seconds_of_health(running) < 1
    wait_for_workers(running, 2)
    for _ in range(20):
        assert Actor(HttpClient(running.url)).try_log_in().status_code == 200

    assert len(running.workers()) == 2


def test_heartbeats_and_hash_slots_are_files_that_nobody_can_remove(running: service.Service) -> None:
    opened = [os.readlink(path) for path in Path(f"/proc/{running.process.pid}/fd").iterdir()]
    folders = ("/dev/shm/", f"{tempfile.gettempdir()}/")  # noqa: S108
    temporary = [name for name in opened if name.startswith(folders)]
    without_a_name = [name for name in temporary if name.endswith(" (deleted)")]

    assert len(without_a_name) == len(running.workers())
    assert "/memfd:hash-slots (deleted)" in opened
    assert set(temporary) - set(without_a_name) <= {str(running.log)}
