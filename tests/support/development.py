"""`python app.py` and what else a developer runs, each in a process of its own, in a copy of the code."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.support import ROOT, service
from tests.support.actor import HttpClient
from tests.support.service import copy_code, free_port

WAIT_SECONDS = 40.0
NO_DATABASE = "postgresql://nobody:pw-in-url@127.0.0.1:1/none"
# The service under test sees nothing else of this process's environment, and no .env.
ENVIRON = service.ENVIRON | {"LANG": "C.UTF-8"}
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl(PR_SET_PDEATHSIG) is Linux's")


@dataclass(frozen=True)
class Development:
    """A running `python app.py`. tree: the copy of the code that it runs from. log: its stdout and stderr."""

    process: "subprocess.Popen[bytes]"
    tree: Path
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> HttpClient:
        return HttpClient(self.url)

    def output(self) -> str:
        return self.log.read_text()

    def postgres(self) -> int:
        """Return the pid of the PostgreSQL that the service started."""
        return int((self.tree / ".data/postgres/postmaster.pid").read_text().split()[0])

    def sockets(self) -> Path:
        """Return the folder of that PostgreSQL's socket."""
        (path,) = re.findall(r'Unix socket "(.+)/', (self.tree / ".data/postgres.log").read_text())
        return Path(path)

    def stop(self, number: int) -> int:
        """Send the service a signal and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_SECONDS)


def copy_tree(folder: Path) -> Path:
    """Copy what a developer runs from into the new folder `folder`."""
    copy_code(folder)
    shutil.copytree(ROOT / "dev", folder / "dev", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@contextmanager
def launched(tree: Path, *prefix: str, **environ: str) -> Iterator[Development]:
    """Run the command `prefix... python app.py` in a process group of its own until the block ends."""
    port = free_port()
    log = tree.parent / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*prefix, sys.executable, "app.py"],
            cwd=tree,
            env=ENVIRON | {"PORT": str(port)} | environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # Under `nohup make test`, the service would inherit that SIGHUP is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
    try:
        yield Development(process, tree, port, log)
    finally:
        process.terminate()
        try:
            process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def serving(tree: Path, *prefix: str, **environ: str) -> Iterator[Development]:
    """Start `python app.py` and wait until it answers."""
    with launched(tree, *prefix, **environ) as started:
        assert wait_until(lambda: started.process.poll() is not None or is_alive(started))
        assert started.process.poll() is None, started.output()
        yield started


def wait_until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_alive(started: Development) -> bool:
    try:
        return requests.get(f"{started.url}/health/live", timeout=1).ok
    except requests.RequestException:
        return False


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def run_python(tree: Path, *command: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with `command` until it ends."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=ENVIRON | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )


def assert_refused(done: "subprocess.CompletedProcess[str]", *sentence: str) -> None:
    """Assert exit status 1 and one line on stderr, which contains every piece of `sentence`."""
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert all(piece in done.stderr for piece in sentence), done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def psql(tree: Path, statement: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Do what `make psql` does, with `statement` as its input."""
    command = [sys.executable, "-m", "dev.psql"]
    return subprocess.run(
        command,
        cwd=tree,
        env=ENVIRON | environ,
        input=statement,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
