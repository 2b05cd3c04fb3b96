"""What the limits cost a login, and what they are worth to an honest user during a storm of guesses."""

import http.client
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import measure
from tests.support import service
from tests.support.guessing import guessing

USERS = 20
ROUNDS = 5
LOGINS = 200  # of a round, at each of the services
STORM_CONNECTIONS = 120
STORM_SECONDS = 12.0
HOME, ELSEWHERE = "198.51.100.1", "192.0.2.1"


@dataclass(frozen=True)
class Cost:
    """What a login takes longer with the limits than without. The CPU is that of the workers."""

    milliseconds: float
    cpu_milliseconds: float


@dataclass(frozen=True)
class Honest:
    """An honest user's logins during a storm. slowest: seconds, of those that succeeded."""

    attempts: int
    refused: int
    slowest: float


class Browser:
    """A client on one connection, which keeps no cookie: it is known by its address alone."""

    def __init__(self, running: service.Service, *, ip: str = HOME) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
        self._headers = {"Content-Type": "application/json", "X-Forwarded-For": ip}

    def close(self) -> None:
        self._connection.close()

    def post(self, path: str, **body: str) -> tuple[int, float]:
        """Return the status of the answer, and the seconds until it was there."""
        content = json.dumps(body)
        started = time.perf_counter()
        self._connection.request("POST", f"/api/auth/{path}", content, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status, time.perf_counter() - started

    def register(self, name: str) -> None:
        status, _ = self.post(
            "register", username=name, email=f"{name}@example.com", password=measure.PASSWORD.decode()
        )
        assert status == 201

    def log_in(self, name: str) -> tuple[int, float]:
        return self.post("login", username=name, password=measure.PASSWORD.decode())


@contextmanager
def _running(folder: Path, name: str, db_url: str, **environ: str) -> Iterator[service.Service]:
    common = {"DB_URL": db_url, "SECRET_KEY": measure.SECRET_KEY, "TRUSTED_PROXIES": "1"}
    common["LIMIT_REGISTRATIONS"] = service.UNREACHED_LIMITS["LIMIT_REGISTRATIONS"]
    with service.running(folder / name, **common, **environ) as running:
        yield running


def costs(folder: Path, db_url: str) -> list[Cost]:
    """Log in with and without limits in turns, and return a figure for each round.

    At bcrypt's lowest cost: what a hash takes varies by more than what the limits take.
    """
    environ = {"GUNICORN_WORKERS": "1", "BCRYPT_ROUNDS": "4"}
    with ExitStack() as stack:
        services = [
            stack.enter_context(_running(folder, f"limits-{switch}", db_url, RATE_LIMITS=switch, **environ))
            for switch in ("on", "off")
        ]
        browsers = [Browser(each) for each in services]
        for number in range(USERS):
            browsers[0].register(f"limited{number}")
        _round(services, browsers)  # the first one warms everything up
        return [_round(services, browsers) for _ in range(ROUNDS)]


def _round(services: list[service.Service], browsers: list[Browser]) -> Cost:
    seconds: list[list[float]] = [[] for _ in browsers]
    before = [measure.cpu_seconds(each.workers()) for each in services]
    for number in range(LOGINS):
        for browser, taken in zip(browsers, seconds, strict=True):
            status, each = browser.log_in(f"limited{number % USERS}")
            assert status == 200
            taken.append(each)
    cpu = [
        measure.cpu_seconds(each.workers()) - earlier for each, earlier in zip(services, before, strict=True)
    ]
    on, off = map(statistics.median, seconds)
    return Cost((on - off) * 1000, (cpu[0] - cpu[1]) / LOGINS * 1000)


def honest_user(folder: Path, db_url: str, *, workers: int) -> Honest:
    """Log in from an address, while another address guesses passwords of a user who does not exist."""
    with _running(folder, "storm", db_url, GUNICORN_WORKERS=str(workers)) as running:
        Browser(running).register("honest")
        attempts = []
        with guessing(
            running.port, "nobody", seconds=STORM_SECONDS, addresses=1, connections=STORM_CONNECTIONS
        ):
            ends_at = time.monotonic() + STORM_SECONDS
            time.sleep(0.5)  # the storm is there
            while time.monotonic() < ends_at - 1:
                with closing(Browser(running, ip=ELSEWHERE)) as browser:
                    attempts.append(browser.log_in("honest"))
    slowest = max((seconds for status, seconds in attempts if status == 200), default=float("inf"))
    return Honest(len(attempts), sum(status != 200 for status, _ in attempts), slowest)
