"""A real PostgreSQL for development and tests, which starts and stops with this process. Never in production.

It listens on a Unix socket in a private folder, trusts every client that can open the socket, and does not
wait for the disk (fsync=off).
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import parse_dsn

from dev import StartError, postgres_binaries, privileges

START_SECONDS = 30.0
STOP_SECONDS = 10.0
SOCKET_PREFIX = "postgres-"
MAX_SOCKET_PATH_BYTES = 104  # on macOS, with the NUL at its end; Linux allows a few more
SPLIT_CHARACTERS = {",", '"'}  # PostgreSQL and its clients take a path with these for several paths


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL. pid: its first process; the children of that serve the connections."""

    url: str
    pid: int


@contextmanager
def running(data: Path, *options: str, sockets: Path | None = None) -> Iterator[Server]:
    """Run PostgreSQL on the data folder `data`; make the folder if it is missing. Raises StartError.

    options: arguments for `postgres`, such as "-c", "max_connections=10". sockets: the folder for its socket,
    for a server that must have the same URL after a restart; None stands for a new folder.
    """
    data = data.absolute()
    with ExitStack() as stack:
        try:
            data.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_owned(data))
            _end_orphan(data)
            binaries = postgres_binaries.find(data)
            if not data.exists():
                _make(data, binaries)
            folder = stack.enter_context(_socket_folder(sockets))
            with _log_file(data).open("a+", encoding="utf-8", errors="replace") as log:
                log_start = log.tell()
                process = _start(
                    data, ["-k", str(folder), "-h", "", "-c", "fsync=off", *options], binaries, log
                )
        except OSError as exc:
            path = exc.filename or data  # the error of a full disk names no file
            raise StartError(f"{path} cannot be used ({exc.strerror}): is it yours to write?") from None
        stack.callback(_stop, process)
        server = Server(_url(folder), process.pid)
        _wait_until_ready(server, process, _log_file(data), log_start)
        yield server


def find_running(data: Path) -> str | None:
    """Return the URL of the PostgreSQL that runs on `data`. Returns None if none answers."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        url = _url(Path(lines[4]))  # the first folder of sockets
        with closing(psycopg2.connect(url, connect_timeout=2)) as conn, conn.cursor() as cur:
            cur.execute("SHOW data_directory")
            return url if cur.fetchone() == (str(data.absolute()),) else None
    except (OSError, IndexError, psycopg2.OperationalError):
        return None


@contextmanager
def _owned(data: Path) -> Iterator[None]:
    """Keep other processes from running PostgreSQL on `data`. The system frees the lock with this process."""
    with data.with_name(f"{data.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"Another process runs a PostgreSQL on {data}: stop that make run or make psql first."
            ) from None
        yield


def _end_orphan(data: Path) -> None:
    """Stop the PostgreSQL on `data` that was left running when the process that started it was killed.

    On Linux, PR_SET_PDEATHSIG has stopped it already.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while (pid := _postmaster(data)) and time.monotonic() < deadline:
        if url := find_running(data):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            _remove_sockets(Path(parse_dsn(url)["host"]))
        time.sleep(0.05)


def _postmaster(data: Path) -> int | None:
    """Return the pid in the pid file of `data`. Returns None if no such process of ours runs."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
    except (FileNotFoundError, IndexError, ValueError):  # no file, or half of one
        return None
    except (ProcessLookupError, PermissionError):  # no process, or one of another user
        return None
    return pid


@contextmanager
def _socket_folder(existing: Path | None) -> Iterator[Path]:
    """Yield a private folder for the socket: `existing`, or a new one that is removed in the end.

    It does not lie in the data folder, because the path of a socket must be short.
    """
    folder = existing or _make_socket_folder()
    privileges.hand_over(folder)
    try:
        yield folder
    finally:
        if not existing:
            _remove_sockets(folder)


def _remove_sockets(folder: Path) -> None:
    if folder.name.startswith(SOCKET_PREFIX):  # otherwise the caller of running() owns it
        shutil.rmtree(folder, ignore_errors=True)


def _make_socket_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX))
    path_bytes = len(os.fsencode(folder / ".s.PGSQL.5432"))
    if path_bytes < MAX_SOCKET_PATH_BYTES and not set(str(folder)) & SPLIT_CHARACTERS:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir="/tmp"))


def _url(sockets: Path) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(sockets), safe='')}"


def _start(data: Path, options: list[str], binaries: Path, log: TextIO) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*privileges.prefix(), str(binaries / "postgres"), "-D", str(data), *options],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=data.parent,
        start_new_session=True,  # Ctrl-C ends the service, which then stops its database
    )


def _log_file(data: Path) -> Path:
    return data.with_name(f"{data.name}.log")


def _make(data: Path, binaries: Path) -> None:
    """Make a data folder under another name, then rename it: an interruption leaves no half of a folder."""
    unfinished = data.with_name(f"{data.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    privileges.hand_over(unfinished)
    command = [binaries / "initdb", "-D", unfinished, "-U", "postgres", "-A", "trust"]
    command += ["-E", "UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(
        [*privileges.prefix(), *map(str, command)], capture_output=True, text=True, cwd=data.parent
    )
    if done.returncode != 0:
        raise StartError(f"PostgreSQL could not be set up: {_last_line(done.stderr)}")
    unfinished.rename(data)


def _wait_until_ready(
    server: Server, process: "subprocess.Popen[bytes]", log_file: Path, log_start: int
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(psycopg2.OperationalError):
            psycopg2.connect(server.url).close()
            return
        time.sleep(0.02)
    reason = _last_line(log_file.read_bytes()[log_start:].decode(errors="replace"))
    if "postmaster.pid" in reason:
        file = log_file.with_suffix("") / "postmaster.pid"
        raise StartError(f"Another PostgreSQL seems to run there: stop it, or delete {file} when none does.")
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
    """Return the last line that tells of an error, or the last line if none does."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    errors = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (errors or lines)[-1]
