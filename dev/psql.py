"""What `make psql` does: open psql on the database that `python app.py` uses."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

from config import ConfigError, Settings, read_environment
from dev import POSTGRES_FOLDER, StartError, postgres_binaries, server
from dev import postgres as embedded_postgres


def run() -> None:
    """Open psql and exit with its status. The service need not run.

    An error is one sentence on stderr and exit status 1.
    """
    server.exit_on_signals()
    try:
        environ = read_environment()
        # Settings refuse a bad DB_URL in a sentence of ours: psql's own quotes parts of the password.
        url = Settings.from_env(server.PLACEHOLDERS | environ).db_url if "DB_URL" in environ else None
        status = _open_given(url) if url else _open_embedded()
    except (ConfigError, StartError) as exc:
        sys.exit(str(exc))
    sys.exit(status)


def _open_given(url: str) -> int:
    return _call(shutil.which("psql") or postgres_binaries.find_all()[0] / "psql", url)


def _open_embedded() -> int:
    if not POSTGRES_FOLDER.exists():
        raise StartError("There is no database yet: make run makes one.")
    with ExitStack() as stack:
        url = embedded_postgres.find_running(POSTGRES_FOLDER)
        if not url:
            url = stack.enter_context(embedded_postgres.running(POSTGRES_FOLDER)).url
        return _call(postgres_binaries.find(POSTGRES_FOLDER) / "psql", url)


def _call(program: str | Path, url: str) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for psql, which ends its statement
    parameters = parse_dsn(url)
    environ = dict(os.environ)
    if "password" in parameters:  # everybody on this machine can read command lines
        environ["PGPASSWORD"] = parameters.pop("password")
    return subprocess.call([program, make_dsn(**parameters)], env=environ)


if __name__ == "__main__":
    run()
