"""The service as production starts it: gunicorn with several workers, in a process of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from coverage import Coverage

from tests.support import ROOT

START_SECONDS = 20.0
# For a service whose attempts are charged as in production, and that never reaches a limit.
UNREACHED_LIMITS = dict.fromkeys(
    ["LIMIT_ADDRESS_FAILURES", "LIMIT_ACCOUNT_FAILURES", "LIMIT_DEVICE_FAILURES", "LIMIT_REGISTRATIONS"],
    "999999/1s",
) | {"LOCKOUT_FAILURES": "0"}
# What the processes under test get of this one's environment: PATH, and how their lines are counted.
ENVIRON = {"PATH": os.environ["PATH"]}
if Coverage.current():  # its .pth file then starts it in every Python that finds these
    ENVIRON |= {"COVERAGE_PROCESS_START": f"{ROOT}/pyproject.toml", "COVERAGE_FILE": f"{ROOT}/.coverage"}
# For those that cannot write their count down: another user's, or one that is killed while it ends.
UNCOUNTED = {"COVERAGE_PROCESS_START": ""}


@dataclass(frozen=True)
class Service:
    """A running gunicorn. log: where its stdout and stderr go. code: the copy that it runs from."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path
    code: Path

    def workers(self) -> list[int]:
        """Return the pids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


def copy_code(folder: Path) -> Path:
    """Copy what the service runs from into the new folder `folder`."""
    for name in ("auth", "ops", "runtime"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*ROOT.glob("*.py"), ROOT / "openapi.yaml", ROOT / "schema.sql"]:
        shutil.copy(path, folder)
    return folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(
    log: Path,
    *arguments: str,
    path: str = "/health/live",
    before: str = "",
    **environ: str,
) -> Iterator[Service]:
    """Serve with `environ` (and ENVIRON, nothing else) until the block ends.

    From a copy of the code, because gunicorn reads the .env beside it. arguments: gunicorn's, such as the
    name of another application, which answers on `path`. before: a command of the shell.
    """
    code = copy_code(log.with_name(f"{log.name}-code"))
    port = free_port()
    variables = ENVIRON | {"PORT": str(port), "GUNICORN_WORKERS": "2"} | environ
    command = ["sh", "-c", f'{before}\nexec "$@"', "sh", sys.executable, "-m", "gunicorn", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=code, env=variables, stdout=output, stderr=output)
    service = Service(f"http://127.0.0.1:{port}", port, process, log, code)
    try:
        _wait_until_alive(service, path)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_alive(service: Service, path: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and service.process.poll() is None:
        try:
            requests.get(f"{service.url}{path}", timeout=1)
            return
        except requests.RequestException:  # also a worker that is slow to boot
            time.sleep(0.05)
    raise AssertionError(f"gunicorn did not start:\n{service.log.read_text()}")
