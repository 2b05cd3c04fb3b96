"""A real PgBouncer between the service and a PostgreSQL of the tests."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import parse_dsn

from tests.support import service

START_SECONDS = 10.0
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def running(folder: Path, server_url: str, *, mode: str, **settings: str) -> Iterator[str]:
    """Run PgBouncer until the block ends, and yield the URL of the database behind it.

    mode: the pooling mode, "session" or "transaction". settings: more lines of the section [pgbouncer].
    """
    assert PROGRAM
    server = parse_dsn(server_url)
    port = service.free_port()
    section = {"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "any"}
    section |= {"pool_mode": mode, "admin_users": "postgres", "user": "nobody" if os.getuid() == 0 else ""}
    lines = [f"{name} = {value}" for name, value in (section | settings).items()]
    target = f"host={server['host']} dbname={server['dbname']} user={server['user']}"
    config = folder / "pgbouncer.ini"
    config.write_text("\n".join(["[databases]", f"users = {target}", "[pgbouncer]", *lines, ""]))
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, str(config)], stdout=log, stderr=log)
    url = f"postgresql://{quote(server['user'])}@127.0.0.1:{port}/users"
    try:
        _wait_until_ready(url, process, folder / "pgbouncer.log")
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg2.connect(url).close()
            return
        except psycopg2.OperationalError:
            time.sleep(0.05)
    raise AssertionError(f"PgBouncer did not start:\n{log.read_text()}")
