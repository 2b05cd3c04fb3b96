"""A user of a running service, who registers further users and asks for the service's health."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.support import PASSWORD, SECRET_KEY, service
from tests.support.actor import REGISTER, Actor, HttpClient, Reply

ANSWER_SECONDS = 5.0
TRIES = 3


class LateError(AssertionError):
    """An answer was right, but late."""


class ServiceUser(Actor):
    """A registered user, on a new connection for every request."""

    def __init__(self, running: service.Service) -> None:
        super().__init__(HttpClient(running.url))
        self.service = running
        self._numbers = count()
        self.register()

    def register_another(self, name: str = "") -> Reply:
        """Register another user, by default one of a name that nobody has."""
        name = name or f"user{next(self._numbers)}-{time.monotonic_ns()}"
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        reply: Reply = self.send("POST", REGISTER, body, token="")
        return reply

    def health(self) -> Reply:
        reply: Reply = self.send("GET", "/health", token="")
        return reply

    def live(self) -> Reply:
        reply: Reply = self.send("GET", "/health/live", token="")
        return reply


@contextmanager
def on_service(log: Path, db_url: str, **environ: str) -> Iterator[ServiceUser]:
    """Run the service with two workers on a database until the block ends; it must log no traceback."""
    environ = {
        "DB_URL": db_url,
        "SECRET_KEY": SECRET_KEY,
        "BCRYPT_ROUNDS": "4",
        "DB_POOL_SIZE": "4",
    } | environ
    with service.running(log, **environ) as running:
        yield ServiceUser(running)
    assert "Traceback" not in log.read_text()


@contextmanager
def registering(user: ServiceUser) -> Iterator[list[str]]:
    """Register users by four threads until the block ends. Yield the names of those that got 201."""
    stop = threading.Event()
    created: list[str] = []

    def register() -> None:
        while not stop.is_set():
            reply = user.register_another()
            if reply.status_code == 201:
                created.append(reply.get_json()["username"])

    writers = [threading.Thread(target=register) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        yield created
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def assert_refused(call: Callable[[], Reply]) -> Reply:
    """Assert that a call is answered with 503 and a time to try again; return the answer.

    Raises LateError if the answer takes ANSWER_SECONDS or longer.
    """
    started = time.monotonic()
    reply = call()
    seconds = time.monotonic() - started

    assert reply.status_code == 503, reply.text
    assert int(reply.headers["Retry-After"]) > 0
    if seconds >= ANSWER_SECONDS:
        raise LateError(f"{seconds:.2f} s")
    return reply


def best_of_tries(scenario: Callable[[], None]) -> None:
    """Play a scenario again if an answer was late. Raises LateError if that is so in each of TRIES.

    For scenarios of so many clients that a busy machine delays the clients themselves.
    """
    for number in range(1, TRIES + 1):
        try:
            scenario()
            return
        except LateError:
            if number == TRIES:
                raise


def assert_recovered(user: ServiceUser) -> None:
    """Assert that every next request succeeds, on whichever worker and connection."""
    for _ in range(10):
        assert user.me().status_code == 200
        user.log_in()  # and keeps the tokens: a user has 100 sessions, the oldest are revoked
        assert user.register_another().status_code == 201
        assert user.health().status_code == 200
