"""What the benchmark reads off the machine, PostgreSQL and locust."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import bcrypt
import psycopg2

from auth import users
from auth.client import Client
from auth.errors import ApiError
from auth.features import registration
from auth.principal import Principal
from auth.tokens import access
from auth.users import Credential
from config import Settings
from db import Database
from runtime import clock
from runtime.capacity import available_cpus

SECRET_KEY = "a-key-for-the-benchmark-that-is-long-enough"
PASSWORD = b"correct horse"


def machine() -> str:
    """Return a line that says what the figures were measured on."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return f"{available_cpus()} cores of {processor}, Python {platform.python_version()}, {platform.system()}"


@dataclass(frozen=True)
class Load:
    """What the cores did since the machine started, in seconds of CPU: all of it, and this program's part."""

    at: float
    busy: float
    ours: float

    @classmethod
    def now(cls) -> "Load":
        """Read the load. ours: of this process and of those that it started and that have ended."""
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        user, nice, system, _idle, _iowait, irq, softirq, steal = fields
        busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        times = os.times()
        ours = times.user + times.system + times.children_user + times.children_system
        return cls(time.monotonic(), busy, ours)

    def others_since(self, before: "Load") -> float:
        """Return the share of the cores that others used, or that the hypervisor took, since `before`."""
        others = (self.busy - before.busy) - (self.ours - before.ours)
        return max(0.0, others / ((self.at - before.at) * available_cpus()))


def database(server_url: str, name: str, *, users: int) -> str:
    """Make a database with so many users, all with the same password, and return its URL."""
    _run(server_url, f"CREATE DATABASE {name}")
    url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    Database(url).apply_schema()
    hashed = bcrypt.hashpw(PASSWORD, bcrypt.gensalt(12)).decode()
    _run(
        url,
        "INSERT INTO users (username, email, password)"
        " SELECT 'user' || n, 'user' || n || '@example.com', %s FROM generate_series(0, %s) AS n",
        hashed,
        users - 1,
    )
    _run(
        url,
        "INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at, valid_until,"
        " expires_at, ip, user_agent) SELECT id, sha256(id::text::bytea), '', now(), now(),"
        " now() + interval '1 day', now() + interval '1 day', '127.0.0.1', 'bench' FROM users ORDER BY id",
    )
    _run(url, "VACUUM ANALYZE users, auth_sessions")
    return url


def principal(user_id: int) -> Principal:
    """Return the principal of a token of `token`. Each user has one session, which has the id of the user."""
    now = datetime.now(timezone.utc)
    return Principal(user_id, user_id, now, now)


def token(user_id: int) -> str:
    return access.issue(
        user_id,
        "x@example.com",
        session_id=user_id,
        key=SECRET_KEY,
        now=time.time(),
        ttl_seconds=3600,
        token_id="bench",
    )


def find_by_login(database: Database, identifier: str) -> Credential | None:
    return database.read(users.find_by_login, identifier, now=clock.now())


def refused(database: Database) -> None:
    """Register a username that is taken, in another case, with a hash that cost nothing."""
    with suppress(ApiError):
        database.write(
            registration.create,
            {"username": "USER7", "email": "new@example.com", "first_name": None, "last_name": None},
            password_hash="-",
            client=Client("", ""),
            settings=Settings("", SECRET_KEY),
            now=clock.now(),
        )


def hashes_a_second(seconds: float) -> float:
    """Return how many bcrypt checks as many processes as cores finish in a second: the machine's limit."""
    with ProcessPoolExecutor(available_cpus()) as processes:
        list(processes.map(_hash_for, [0.1] * available_cpus()))  # so that they have started
        return sum(processes.map(_hash_for, [seconds] * available_cpus()))


def _hash_for(seconds: float) -> float:
    salt = bcrypt.gensalt(12)
    started, runs = time.monotonic(), 0
    while time.monotonic() - started < seconds:
        bcrypt.hashpw(PASSWORD, salt)
        runs += 1
    return runs / (time.monotonic() - started)


def medians(run: Callable[[Database], object], on: Sequence[Database], *, times: int) -> list[float]:
    """Return the median seconds of `run` on each of the databases, which take turns."""
    seconds: list[list[float]] = [[] for _ in on]
    for _ in range(times):
        for database, taken in zip(on, seconds, strict=True):
            begun = time.perf_counter()
            run(database)
            taken.append(time.perf_counter() - begun)
    return [statistics.median(taken) for taken in seconds]


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU time, user and system, that these processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def wait_until_idle(pids: list[int]) -> None:
    """Return when these processes have used no CPU to speak of for half a second."""
    before = cpu_seconds(pids)
    time.sleep(0.5)
    while (now := cpu_seconds(pids)) - before > 0.05:
        before = now
        time.sleep(0.5)


def pss_megabytes(pid: int) -> float:
    """Return a process's memory, with pages that several share divided among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError("no Pss line")


def rate(entry: dict[str, Any]) -> float:
    """Return the answers a second between the first and the last of one of locust's entries."""
    return float(entry["num_requests"] / (entry["last_request_timestamp"] - entry["start_time"]))


def percentile(entry: dict[str, Any], share: float) -> float:
    """Return a latency in milliseconds that `share` of the requests stayed within."""
    left = entry["num_requests"] * share
    for milliseconds, count in sorted((float(ms), n) for ms, n in entry["response_times"].items()):
        left -= count
        if left <= 0:
            return milliseconds
    raise ValueError("no requests")


def _run(url: str, statement: str, *parameters: object) -> None:
    conn = psycopg2.connect(url)
    conn.autocommit = True
    try:
        with conn.cursor() as cur:
            cur.execute(statement, parameters or None)
    finally:
        conn.close()
