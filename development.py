"""What `python app.py` does: fill in what the environment leaves out, and serve on this machine only."""

import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader, run_simple

import embedded_postgres
from config import ConfigError, Settings, read_environment

HOST = "127.0.0.1"  # the debugger runs whatever code it is sent
DATA_FOLDER = Path(__file__).with_name(".data")


class StartError(Exception):
    """A sentence that says why the service cannot start here."""


def run(create_app: Callable[[Settings], Flask]) -> None:
    """Serve until Ctrl-C. Whatever keeps it from starting is one sentence on stderr and exit status 1."""
    for number in (signal.SIGINT, signal.SIGTERM):  # also while it starts, without a traceback
        signal.signal(number, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        try:
            environ = read_environment()
            settings = Settings.from_env(environ | _defaults(environ, stack))
            app = create_app(settings)
        except (ConfigError, StartError, embedded_postgres.StartError) as exc:
            sys.exit(str(exc))
        _serve(app, settings)


def _defaults(environ: dict[str, str], stack: ExitStack) -> dict[str, str]:
    """Return DB_URL and SECRET_KEY where `environ` has none, starting what they need; `stack` stops it."""
    # A database must not be started for settings that are bad, nor beside a service that runs already.
    settings = Settings.from_env({"DB_URL": "postgresql://", "SECRET_KEY": "-"} | environ)
    if not is_running_from_reloader():
        _require_free_port(settings.port)
    made = {}
    if "SECRET_KEY" not in environ:
        made["SECRET_KEY"] = _kept_secret_key()
    if "DB_URL" not in environ:
        server = stack.enter_context(embedded_postgres.running(DATA_FOLDER / "postgres"))
        made["DB_URL"] = server.url
    os.environ.update(made)  # for the process that the reloader starts
    return made


def _require_free_port(port: int) -> None:
    try:
        socket.create_server((HOST, port)).close()
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
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(48))
        return path.read_text(encoding="ascii").strip()
    except OSError as exc:
        raise StartError(f"{path} cannot be used ({exc.strerror}). Delete it or set SECRET_KEY.") from None


def _serve(app: Flask, settings: Settings) -> None:
    if settings.debug:
        app.config["PROPAGATE_EXCEPTIONS"] = True  # to the debugger, past the one error body
    else:
        # Its banner repeats ours; with the debugger it also prints the PIN, which is needed.
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
    if not is_running_from_reloader():
        print(_greeting(settings.port), flush=True)
    run_simple(
        HOST,
        settings.port,
        app,
        use_reloader=settings.debug,
        use_debugger=settings.debug,
        threaded=True,
        request_handler=_QuietRequests,
    )


def _greeting(port: int) -> str:
    body = '{"username": "ada", "email": "ada@example.com", "password": "correct horse"}'
    return (
        f"The User Service listens on http://{HOST}:{port} (Ctrl-C stops it). Try:\n"
        f"  curl -s http://{HOST}:{port}/api/auth/register -H 'Content-Type: application/json' -d '{body}'\n"
    )


class _QuietRequests(WSGIRequestHandler):
    """Werkzeug's handler without its own line for every request: logs.py writes that one."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass
