"""A PostgreSQL of its own for tests that stop, freeze or fill it."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection

from dev import postgres as embedded_postgres
from tests.support.database import run_sql

MAX_CONNECTIONS = 30


class FaultyPostgres:
    """A server that can be stopped, killed, frozen and started again at the same address."""

    def __init__(self, folder: Path, sockets: Path, *options: str) -> None:
        self._folder, self._sockets, self._options = folder, sockets, options
        self._running = ExitStack()
        self.start()

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> None:
        self.server = self._running.enter_context(
            embedded_postgres.running(
                self._folder / "postgres",
                "-c",
                f"max_connections={MAX_CONNECTIONS}",
                *self._options,
                sockets=self._sockets,
            )
        )

    def stop(self, *, at_once: bool = False) -> None:
        """Stop the server. at_once: as a crash does, without a word to its clients."""
        if at_once:
            os.kill(self.server.pid, signal.SIGQUIT)
        self._running.close()

    @contextmanager
    def stopped(self, *, at_once: bool) -> Iterator[None]:
        self.stop(at_once=at_once)
        try:
            yield
        finally:
            self.start()

    def restart(self) -> None:
        with self.stopped(at_once=False):
            pass

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server and its backends: the kernel accepts what clients send, and nobody reads it."""
        pids = [self.server.pid, *self._backends()]
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
        """End the connections of the service and take every free connection at once."""
        connections: list[connection] = []
        admin = psycopg2.connect(self.url)
        admin.autocommit = True
        try:
            with admin.cursor() as cur:
                while len(connections) < MAX_CONNECTIONS - 1:
                    cur.execute(
                        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
                        " WHERE application_name = 'user-service'"
                    )
                    with suppress(psycopg2.OperationalError):
                        while True:
                            connections.append(psycopg2.connect(self.url))
            yield
        finally:
            for conn in [admin, *connections]:
                conn.close()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse changes, as a standby does."""
        self._reload("ALTER SYSTEM SET default_transaction_read_only = on")
        try:
            yield
        finally:
            self._reload("ALTER SYSTEM RESET default_transaction_read_only")

    def _reload(self, statement: str) -> None:
        run_sql(self.url, statement)
        run_sql(self.url, "SELECT pg_reload_conf()")
        time.sleep(0.2)  # every backend has read the file then

    def _backends(self) -> list[int]:
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[FaultyPostgres]:
    """Run a server until the block ends. options: of the command `postgres`."""
    with tempfile.TemporaryDirectory(prefix="pg-") as sockets:  # the path of a socket must be short
        server = FaultyPostgres(folder, Path(sockets), *options)
        try:
            yield server
        finally:
            server.stop()
