"""A real PostgreSQL for development and tests, started and stopped with its parent. Never in production.

It listens on a Unix socket in a private folder, trusts whoever can open that, and does not wait for the disk.
"""

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
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

from dev import postgres_binaries
from dev.postgres_binaries import StartError

START_SECONDS = 30.0
STOP_SECONDS = 10.0
SOCKET_PREFIX = "postgres-"
UNPRIVILEGED_USER = "nobody"  # PostgreSQL refuses to run as root


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
                said = log.tell()
                process = _start(
                    data, ["-k", str(folder), "-h", "", "-c", "fsync=off", *options], binaries, log
                )
        except OSError as exc:
            path = exc.filename or data  # a full disk has no name
            raise StartError(f"{path} cannot be used ({exc.strerror}): is it yours to write?") from None
        stack.callback(_stop, process)
        server = Server(_url(folder), process.pid)
        _wait_until_ready(server, process, _log_file(data), said)
        yield server


def find_running(data: Path) -> str | None:
    """Return the URL of the PostgreSQL that runs on `data`, None when there is none that answers."""
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
    """Keep other processes from running PostgreSQL on `data`; the lock goes with this process."""
    with data.with_name(f"{data.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"Another process runs a PostgreSQL on {data}: stop that make run or make psql first."
            ) from None
        yield


def _end_orphan(data: Path) -> None:
    """End the PostgreSQL of a process that was killed, where the system could not end it along with that."""
    deadline = time.monotonic() + STOP_SECONDS
    while (pid := _postmaster(data)) and time.monotonic() < deadline:
        if url := find_running(data):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            _remove_sockets(Path(parse_dsn(url)["host"]))
        time.sleep(0.05)


def _postmaster(data: Path) -> int | None:
    """Return the pid that a PostgreSQL on `data` left, None when it cannot be that one any more."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
    except (FileNotFoundError, IndexError, ValueError):  # none, or half of one
        return None
    except (ProcessLookupError, PermissionError):  # gone, or now the number of somebody else's process
        return None
    return pid


@contextmanager
def _socket_folder(given: Path | None) -> Iterator[Path]:
    """Yield a private folder for the socket; not below the data, whose path may be too long for one."""
    folder = given or _make_socket_folder()
    _hand_over(folder)
    try:
        yield folder
    finally:
        if not given:
            _remove_sockets(folder)


def _remove_sockets(folder: Path) -> None:
    if folder.name.startswith(SOCKET_PREFIX):  # or it is one that was given
        shutil.rmtree(folder, ignore_errors=True)


def _make_socket_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX))
    # Both PostgreSQL and its clients split at commas, and a socket's path has 104 bytes at most on macOS.
    if len(os.fsencode(folder / ".s.PGSQL.5432")) < 104 and not set(str(folder)) & set(',"'):
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir="/tmp"))


def _url(sockets: Path) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(sockets), safe='')}"


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
    # The checkout may lie below a folder that only root can enter, such as /root, or be made with umask 077.
    # initdb asks access(2) for `postgres`, which heeds a capability only without the "setuid fixup".
    enter = [
        *drop,
        "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ]
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
    """Return the last line that says something went wrong, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    wrong = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (wrong or lines)[-1]
