"""What `python app.py` does: fill in what the environment leaves out, and serve on this machine only."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack

from flask import Flask, redirect
from psycopg2.extensions import parse_dsn
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader, run_simple

from config import ConfigError, Settings, read_environment
from dev import DATA_FOLDER, POSTGRES_FOLDER, StartError, mailbox, secret_key
from dev import postgres as embedded_postgres
from ops import health, openapi
from runtime import background

HOST = "127.0.0.1"  # the debugger runs any code that it receives
STOP_SECONDS = 3.0  # for the mail that goes out
# For the required variables, so that the others can be checked before there is a database or a key.
PLACEHOLDERS = {"DB_URL": "postgresql://", "SECRET_KEY": "-"}


def run(create_app: Callable[[Settings], Flask]) -> None:
    """Serve until Ctrl-C. A start that fails is one sentence on stderr and exit status 1."""
    exit_on_signals()
    with ExitStack() as stack:
        try:
            environ = read_environment()
            keeps_mails = "SMTP_URL" not in environ
            if keeps_mails:  # the child of Werkzeug's reloader comes here by itself
                environ = mailbox.SETTINGS | environ
            settings = Settings.from_env(environ | _defaults(environ, stack))
            app = create_app(settings)
        except (ConfigError, StartError) as exc:
            sys.exit(str(exc))
        if keeps_mails:
            app.extensions["auth"].sender.deliver = mailbox.deliver
        app.add_url_rule("/", "index", lambda: redirect("/docs"))
        if is_running_from_reloader() or not settings.debug:  # with a reloader its parent answers nothing
            background.start_all(app)
            stack.callback(background.stop_all, app, seconds=STOP_SECONDS)
        _serve(app, settings)


def exit_on_signals() -> None:
    """Exit without a traceback, also during the start, so that everything that was started is stopped."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores SIGHUP
        signal.signal(signal.SIGHUP, lambda *_: sys.exit(0))


def _defaults(environ: dict[str, str], stack: ExitStack) -> dict[str, str]:
    """Return the DB_URL and SECRET_KEY that `environ` lacks. `stack` stops the PostgreSQL behind DB_URL."""
    # First the checks: bad settings, or a service that already runs here, must not start a database.
    settings = Settings.from_env(PLACEHOLDERS | environ)
    if not is_running_from_reloader():
        _require_free_port(settings.port)
    defaults = {}
    if "SECRET_KEY" not in environ:
        defaults["SECRET_KEY"] = secret_key.read_or_make(DATA_FOLDER)
    if "DB_URL" not in environ:
        if not POSTGRES_FOLDER.exists():
            print(f"Making a PostgreSQL in {POSTGRES_FOLDER} ...", flush=True)
        defaults["DB_URL"] = stack.enter_context(embedded_postgres.running(POSTGRES_FOLDER)).url
    os.environ.update(defaults)  # for the child process that Werkzeug's reloader starts
    return defaults


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


def _serve(app: Flask, settings: Settings) -> None:
    if settings.debug:
        app.config["PROPAGATE_EXCEPTIONS"] = True  # the debugger gets an exception, instead of our error body
    else:
        # Werkzeug's banner repeats our greeting. With the debugger it also prints the PIN, which is needed.
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
    first_line = f"The User Service listens on {url} (Ctrl-C stops it)."
    if problem := health.Health(app.extensions["auth"].database).problem():
        return f"{first_line}\nBut {_place(settings.db_url)} does not serve: {problem.cause}.\n"
    page = f" {url}/docs shows all calls." if openapi.page_folder() else ""
    body = '{"username": "ada", "email": "ada@example.com", "password": "correct horse"}'
    return (
        f"{first_line}{page} Try:\n"
        f"  curl -sS {url}/api/auth/register -H 'Content-Type: application/json' -d '{body}'\n"
        f"{_note_on_mails(app)}"
    )


def _note_on_mails(app: Flask) -> str:
    if app.extensions["auth"].sender.deliver is not mailbox.deliver:
        return ""
    return f"Mails are not sent, but kept in {mailbox.FOLDER}. Their links are printed here.\n"


def _place(db_url: str) -> str:
    """Return where DB_URL leads, without the password."""
    parameters = parse_dsn(db_url)
    return f"PostgreSQL at {parameters.get('host', 'localhost')}, port {parameters.get('port', '5432')},"


class _QuietRequests(WSGIRequestHandler):
    """Werkzeug's handler without its own line for every request: runtime/logs.py writes one."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass
