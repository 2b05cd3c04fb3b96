"""PostgreSQL misbehaves: the service answers honestly in bounded time, and recovers by itself.

Against gunicorn with two workers, and a PostgreSQL that each test breaks and mends.
"""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests

from dev import postgres as embedded_postgres
from tests.support import PASSWORD, SECRET_KEY, service
from tests.support.database import held_open, run_sql

ANSWER_SECONDS = 5.0
HEALTH_SECONDS = 3.0


class Postgres:
    """A server that can be stopped, killed, frozen and started again where clients look for it."""

    def __init__(self, folder: Path, sockets: Path, *options: str) -> None:
        self._folder, self._sockets, self._options = folder, sockets, options
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        self.server = self._running.enter_context(
            embedded_postgres.running(
                self._folder / "postgres",
                "-c",
                "max_connections=30",
                *self._options,
                sockets=self._sockets,
            )
        )

    def stop(self, *, at_once: bool = False) -> None:
        if at_once:
            os.kill(self.server.pid, signal.SIGQUIT)
        self._running.close()

    def backends(self) -> list[int]:
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        pids = [self.server.pid, *self.backends()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @contextmanager
    def full(self) -> Iterator[None]:
        """End the connections of the service and take every place at once."""
        taken = []
        admin = psycopg2.connect(self.server.url)
        admin.autocommit = True
        try:
            with admin.cursor() as cur:
                while True:
                    cur.execute(
                        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
                        " WHERE application_name = 'user-service'"
                    )
                    with suppress(psycopg2.OperationalError):
                        while True:
                            taken.append(psycopg2.connect(self.server.url))
                    if len(taken) >= 29:
                        break
            yield
        finally:
            for connection in [admin, *taken]:
                connection.close()


@contextmanager
def read_only(url: str) -> Iterator[None]:
    run_sql(url, "ALTER SYSTEM SET default_transaction_read_only = on")
    run_sql(url, "SELECT pg_reload_conf()")
    time.sleep(0.2)
    try:
        yield
    finally:
        run_sql(url, "ALTER SYSTEM RESET default_transaction_read_only")
        run_sql(url, "SELECT pg_reload_conf()")
        time.sleep(0.2)


@contextmanager
def stopped(postgres: Postgres, *, at_once: bool) -> Iterator[None]:
    postgres.stop(at_once=at_once)
    try:
        yield
    finally:
        postgres.start()


class Client:
    """A client of the service with an account, on a new connection for every request."""

    def __init__(self, running: service.Service) -> None:
        self.service = running
        self.credential = {"username": "ada", "password": PASSWORD}
        body = self.credential | {"email": "ada@example.com"}
        answer = requests.post(f"{running.url}/api/auth/register", json=body, timeout=30)
        self.token = answer.json()["token"]
        self._names = iter(range(1_000_000))

    def me(self) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.get(f"{self.service.url}/api/auth/me", headers=headers, timeout=30)

    def login(self) -> requests.Response:
        return requests.post(f"{self.service.url}/api/auth/login", json=self.credential, timeout=30)

    def refresh(self, token: str) -> requests.Response:
        body = {"refresh_token": token}
        return requests.post(f"{self.service.url}/api/auth/refresh", json=body, timeout=30)

    def register(self, name: str = "") -> requests.Response:
        name = name or f"user{next(self._names)}-{time.monotonic_ns()}"
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        return requests.post(f"{self.service.url}/api/auth/register", json=body, timeout=30)

    def health(self) -> requests.Response:
        return requests.get(f"{self.service.url}/health", timeout=30)

    def live(self) -> requests.Response:
        return requests.get(f"{self.service.url}/health/live", timeout=30)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="pg-") as sockets:  # a socket's path is short
        running = Postgres(tmp_path_factory.mktemp("faulty"), Path(sockets))
        yield running
        running.stop()


@pytest.fixture(scope="module")
def client(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    log = tmp_path_factory.mktemp("service") / "log"
    environ = {"DB_URL": postgres.server.url, "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"}
    with service.running(log, DB_POOL_SIZE="4", REFRESH_REUSE_SECONDS="1", **environ) as running:
        yield Client(running)
    assert "Traceback" not in log.read_text()


def assert_refused(call: Callable[[], requests.Response]) -> requests.Response:
    started = time.monotonic()
    answer = call()
    seconds = time.monotonic() - started

    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert seconds < ANSWER_SECONDS
    return answer


def assert_unavailable(call: Callable[[], requests.Response]) -> None:
    assert assert_refused(call).json()["code"] == "database_unavailable"


def assert_unhealthy(client: Client, *, database: str = "disconnected") -> None:
    started = time.monotonic()
    answer = client.health()
    seconds = time.monotonic() - started

    assert (answer.status_code, answer.json()["database"]) == (503, database)
    assert seconds < HEALTH_SECONDS
    assert client.live().status_code == 200


def assert_recovered(client: Client) -> None:
    """Assert that every next request succeeds, on whichever worker and connection."""
    for _ in range(10):
        assert client.me().status_code == 200
        assert client.login().status_code == 200
        assert client.register().status_code == 201
        assert client.health().status_code == 200


@pytest.mark.parametrize("at_once", [False, True], ids=["stopped", "stopped at once"])
def test_stopped_database_is_503_until_it_is_back(
    client: Client, postgres: Postgres, *, at_once: bool
) -> None:
    assert_recovered(client)

    with stopped(postgres, at_once=at_once):
        for call in (client.me, client.login, client.register):
            assert_unavailable(call)
        assert_unhealthy(client)

    assert_recovered(client)


def test_restarted_database_is_not_noticed_by_the_next_request(client: Client, postgres: Postgres) -> None:
    assert_recovered(client)

    with stopped(postgres, at_once=False):
        pass

    assert_recovered(client)


def test_terminated_connections_are_not_noticed_by_the_next_request(
    client: Client, postgres: Postgres
) -> None:
    assert_recovered(client)

    run_sql(
        postgres.server.url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'user-service'",
    )

    assert_recovered(client)


def test_database_at_its_connection_limit_is_503_until_there_is_room(
    client: Client, postgres: Postgres
) -> None:
    with postgres.full():
        for call in (client.me, client.login, client.register):
            assert_unavailable(call)
        assert_unhealthy(client)

    assert_recovered(client)


def test_read_only_database_still_serves_what_only_reads(client: Client, postgres: Postgres) -> None:
    with read_only(postgres.server.url):
        assert client.me().status_code == 200
        assert_unavailable(client.login)  # it opens a session
        assert_unavailable(client.register)
        assert_unhealthy(client, database="connected")

    assert_recovered(client)


def test_locked_table_is_503_until_the_lock_is_gone(client: Client, postgres: Postgres) -> None:
    with (
        held_open(postgres.server.url, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"),
        ThreadPoolExecutor(3) as threads,
    ):
        for done in [
            threads.submit(assert_unavailable, call) for call in (client.me, client.login, client.register)
        ]:
            done.result()
        assert_unhealthy(client, database="connected")

    assert_recovered(client)


def test_frozen_database_is_503_in_time_even_when_every_connection_hangs(
    client: Client, postgres: Postgres
) -> None:
    assert_recovered(client)

    with postgres.frozen(), ThreadPoolExecutor(70) as threads:
        hanging = [threads.submit(client.me) for _ in range(60)]
        time.sleep(0.3)
        asked: list[Future[Any]] = [threads.submit(assert_unhealthy, client) for _ in range(4)]
        asked += [threads.submit(assert_refused, call) for call in (client.me, client.login, client.register)]
        for done in asked:
            done.result()
        assert {done.result().status_code for done in hanging} == {503}

    assert_recovered(client)


def open_connections(client: Client, postgres: Postgres) -> None:
    """Let the service open every connection that it may have."""
    with ThreadPoolExecutor(16) as threads:
        with held_open(postgres.server.url, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"):
            waiting = [threads.submit(client.me) for _ in range(16)]
            time.sleep(0.5)
        assert {done.result().status_code for done in waiting} <= {200, 503}


def test_what_a_frozen_database_received_is_not_carried_out_when_it_wakes(
    client: Client, postgres: Postgres
) -> None:
    """A connection that is open takes what is sent; its backend reads it when it wakes."""
    assert_recovered(client)
    open_connections(client, postgres)
    tokens = [client.login().json()["refresh_token"] for _ in range(2)]
    names = ["late1", "late2"]

    with postgres.frozen(), ThreadPoolExecutor(4) as threads:
        refused = [threads.submit(assert_unavailable, partial(client.refresh, token)) for token in tokens]
        refused += [threads.submit(assert_unavailable, partial(client.register, name)) for name in names]
        for done in refused:
            done.result()
    time.sleep(1.5)  # longer than the tokens might be used again, had they been replaced

    answers = [*map(client.refresh, tokens), *map(client.register, names)]
    assert [answer.status_code for answer in answers] == [200, 200, 201, 201]


@contextmanager
def registering(client: Client) -> Iterator[list[str]]:
    """Register users by four threads until the block ends; yield the names of those that got 201."""
    stop = threading.Event()
    created: list[str] = []

    def register() -> None:
        while not stop.is_set():
            answer = client.register()
            if answer.status_code == 201:
                created.append(answer.json()["username"])

    writers = [threading.Thread(target=register) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        yield created
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def test_what_was_answered_with_201_is_never_missing(client: Client, postgres: Postgres) -> None:
    with registering(client) as created:
        for _ in range(3):
            time.sleep(0.3)
            with stopped(postgres, at_once=True):
                time.sleep(0.1)
        time.sleep(0.3)

    stored = {name for (name,) in run_sql(postgres.server.url, "SELECT username FROM users")}
    assert len(created) > 20
    assert set(created) <= stored


def test_errors_and_disconnects_leak_no_connection(client: Client, postgres: Postgres) -> None:
    def connections() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'user-service'"
        return int(run_sql(postgres.server.url, query)[0][0])

    def storm() -> None:
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda _: client.me().status_code, range(200)))

    def hang_up(_: int) -> None:
        with suppress(requests.RequestException):  # a ConnectionError when it is in the middle of the answer
            requests.post(f"{client.service.url}/api/auth/login", json=client.credential, timeout=0.002)

    assert_recovered(client)
    storm()
    most = 2 * (4 + 1)  # two workers, each with its pool and its connection for health checks

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(hang_up, range(200)))
    taken = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    deadline = time.monotonic() + 20
    refused = 0
    while refused < 30:  # the logins of those who hung up may keep the hash slots busy for a while
        answer = requests.post(f"{client.service.url}/api/auth/register", json=taken, timeout=30)
        assert answer.status_code in (409, 503)
        assert time.monotonic() < deadline
        refused += answer.status_code == 409
    storm()

    assert connections() <= most
    assert_recovered(client)
