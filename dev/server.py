"""What `python app.py` does: fill in what the environment leaves out, and serve on this machine only."""

import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from flask import Flask, redirect
from psycopg2.extensions import make_dsn, parse_dsn
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader, run_simple

from config import ConfigError, Settings, read_environment
from dev import postgres as embedded_postgres
from dev import postgres_binaries
from ops import health, openapi

HOST = "127.0.0.1"  # the debugger runs whatever code it is sent
DATA_FOLDER = Path(__file__).parents[1] / ".data"
POSTGRES_FOLDER = DATA_FOLDER / "postgres"
NOTHING_SET = {"DB_URL": "postgresql://", "SECRET_KEY": "-"}


class StartError(Exception):
    """A sentence that says why the service cannot start here."""


def run(create_app: Callable[[Settings], Flask]) -> None:
    """Serve until Ctrl-C. Whatever keeps it from starting is one sentence on stderr and exit status 1."""
    _exit_on_signals()
    with ExitStack() as stack:
        try:
            environ = read_environment()
            settings = Settings.from_env(environ | _defaults(environ, stack))
            app = create_app(settings)
        except (ConfigError, StartError, postgres_binaries.StartError) as exc:
            sys.exit(str(exc))
        app.add_url_rule("/", "index", lambda: redirect("/docs"))
        _serve(app, settings)


def psql() -> None:
    """Open psql on the database that `python app.py` uses, which need not run."""
    _exit_on_signals()
    try:
        environ = read_environment()
        # A bad DB_URL is refused in our words: psql's quote parts of the password.
        url = Settings.from_env(NOTHING_SET | environ).db_url if "DB_URL" in environ else None
        if url:
            program = shutil.which("psql") or postgres_binaries.find_all()[0] / "psql"
            sys.exit(_run_psql(program, url))
        if not POSTGRES_FOLDER.exists():
            sys.exit("There is no database yet: make run makes one.")
        with ExitStack() as stack:
            url = embedded_postgres.find_running(POSTGRES_FOLDER)
            if not url:
                url = stack.enter_context(embedded_postgres.running(POSTGRES_FOLDER)).url
            sys.exit(_run_psql(postgres_binaries.find(POSTGRES_FOLDER) / "psql", url))
    except (ConfigError, postgres_binaries.StartError) as exc:
        sys.exit(str(exc))


def _run_psql(program: str | Path, url: str) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for psql, which ends its statement
    given = parse_dsn(url)
    # The command line can be seen by everybody on the machine.
    environ = os.environ | ({"PGPASSWORD": given.pop("password")} if "password" in given else {})
    return subprocess.call([program, make_dsn(**given)], env=environ)


def _exit_on_signals() -> None:
    """End without a traceback, also while it starts, and stop everything that was started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup does
        signal.signal(signal.SIGHUP, lambda *_: sys.exit(0))


def _defaults(environ: dict[str, str], stack: ExitStack) -> dict[str, str]:
    """Return DB_URL and SECRET_KEY where `environ` has none, starting what they need; `stack` stops it."""
    # A database must not be started for settings that are bad, nor beside a service that runs already.
    settings = Settings.from_env(NOTHING_SET | environ)
    if not is_running_from_reloader():
        _require_free_port(settings.port)
    made = {}
    if "SECRET_KEY" not in environ:
        made["SECRET_KEY"] = _kept_secret_key()
    if "DB_URL" not in environ:
        if not POSTGRES_FOLDER.exists():
            print(f"Making a PostgreSQL in {POSTGRES_FOLDER} ...", flush=True)
        server = stack.enter_context(embedded_postgres.running(POSTGRES_FOLDER))
        made["DB_URL"] = server.url
    os.environ.update(made)  # for the process that the reloader starts
    return made


def _require_free_port(port: int) -> None:
    try:
        socket.create_server((HOST, port)).close()
    except PermissionError:
        raise StartError(
            f"Port {port} cannot be used: those below 1024 are for root. Choose another: PORT=8090 make run"
        ) from None
    except OSError as exc:
        raise StartError(
            f"Port {port} cannot be used ({os.strerror(exc.errno or 0)}). "
            "Stop what listens there, or choose another: PORT=8090 make run"
        ) from None


def _kept_secret_key() -> str:
    """Return the key in the data folder, made on the first run so that tokens outlive a restart."""
    path = DATA_FOLDER / "secret_key"
    try:
        DATA_FOLDER.mkdir(exist_ok=True)
        if path.exists() and not path.stat().st_size:
            path.unlink()  # a full disk left it empty
        if not path.exists():
            _make_secret_key(path)
        return path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        raise StartError(f"{path} is damaged: delete it, and the next start makes a new key.") from None
    except OSError as exc:
        told = f"{exc.filename or path} cannot be used ({exc.strerror})"
        raise StartError(f"{told}: make it yours to write, or set SECRET_KEY.") from None


def _make_secret_key(path: Path) -> None:
    """Make the key under another name, then link it: one of two processes wins, none sees half of a key."""
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix="secret_key.")
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
        with suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        os.unlink(unfinished)


def _serve(app: Flask, settings: Settings) -> None:
    if settings.debug:
        app.config["PROPAGATE_EXCEPTIONS"] = True  # to the debugger, past the one error body
    else:
        # Its banner repeats ours; with the debugger it also prints the PIN, which is needed.
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
    if not is_running_from_reloader():
        print(_greeting(app, settings), flush=True)
    run_simple(
        HOST,
        settings.port,
        app,
        use_reloader=settings.debug,
        use_debugger=settings.debug,
        threaded=True,
        request_handler=_QuietRequests,
    )


def _greeting(app: Flask, settings: Settings) -> str:
    url = f"http://{HOST}:{settings.port}"
    listens = f"The User Service listens on {url} (Ctrl-C stops it)."
    if problem := health.Health(app.extensions["auth"].database).problem():
        return f"{listens}\nBut {_place(settings.db_url)} does not serve: {problem.cause}.\n"
    page = f" {url}/docs shows all calls." if openapi.page_folder() else ""
    body = '{"username": "ada", "email": "ada@example.com", "password": "correct horse"}'
    return (
        f"{listens}{page} Try:\n"
        f"  curl -sS {url}/api/auth/register -H 'Content-Type: application/json' -d '{body}'\n"
    )


def _place(db_url: str) -> str:
    """Return what DB_URL names, without the password."""
    given = parse_dsn(db_url)
    return f"PostgreSQL at {given.get('host', 'localhost')}, port {given.get('port', '5432')},"


class _QuietRequests(WSGIRequestHandler):
    """Werkzeug's handler without its own line for every request: logs.py writes that one."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass
