"""The application factory: settings, logs, database, bcrypt, CORS, errors, the blueprint and health."""

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click
from flask import Flask, Response, request
from flask_bcrypt import Bcrypt
from flask_cors import cross_origin
from jwt.warnings import InsecureKeyLengthWarning
from werkzeug.middleware.proxy_fix import ProxyFix

import auth
from auth import errors
from auth.passwords import PasswordHasher
from config import HASH_SLOT_DESCRIPTOR, MAX_BODY_BYTES, Settings, read_environment
from db import Database
from ops import commands, health, openapi
from runtime import logs
from runtime.bulkhead import SharedPlaces
from runtime.faults import DatabaseUnavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CORS_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# The last four: what frontends add to trace a request (W3C Trace Context and Baggage, Sentry).
CORS_HEADERS = ["Authorization", "Content-Type", logs.REQUEST_ID_HEADER]
CORS_HEADERS += ["traceparent", "tracestate", "baggage", "sentry-trace"]
PREFLIGHT_SECONDS = 600  # Chromium keeps none longer than two hours, others less

log = logging.getLogger("app")


def create_app(settings: Settings | None = None) -> Flask:
    """Return the service as a Flask app.

    settings: those of the environment and `.env` when None. Raises ConfigError when they are bad.
    A database that cannot be reached does not stop the start: it is tried again with the next request.
    """
    settings = settings or Settings.from_env(read_environment())
    logs.configure(settings.log_level)
    _warn_operator(settings)

    app = Flask(__name__, static_folder=None)
    app.debug = False  # Flask reads FLASK_DEBUG by itself; under gunicorn it must never show a debugger
    app.url_map.merge_slashes = False  # or //health would be redirected with a page of HTML
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # One more than is allowed: at the limit Werkzeug cuts a chunked body off without a word.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    app.config["BCRYPT_LOG_ROUNDS"] = settings.bcrypt_rounds

    app.wsgi_app = logs.RequestLog(FixedHeaders(app.wsgi_app))  # type: ignore[method-assign]
    if settings.trusted_proxies:  # else X-Forwarded-For is what any client makes up
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies)  # type: ignore[method-assign]
    app.wsgi_app = ShortLists(app.wsgi_app)  # type: ignore[method-assign]
    errors.init_app(app)
    _init_cors(app, settings)
    database = Database(settings.db_url, pool_size=settings.db_pool_size)
    if not click.get_current_context(silent=True):  # `flask init-db` does so itself, and takes its time
        _apply_schema(database)
    app.extensions["services"] = auth.Services(
        settings=settings,
        database=database,
        passwords=PasswordHasher(
            Bcrypt(app),
            rounds=settings.bcrypt_rounds,
            running=settings.hash_slots,
            waiting=settings.hash_queue,
            shared=_shared_slots(settings),
        ),
    )
    app.register_blueprint(auth.bp)
    health.init_app(app, database)
    openapi.init_app(app)
    commands.init_app(app, database)
    return app


def _warn_operator(settings: Settings) -> None:
    for doubt in settings.doubts():
        log.warning("unknown_setting: %s", doubt)
    for warning in settings.warnings():
        log.warning("insecure_setting: %s", warning)
    # PyJWT says the same of a short key, with every token.
    warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)


def _shared_slots(settings: Settings) -> SharedPlaces | None:
    """Return the hash slots that gunicorn's workers share, None where there is one process."""
    descriptor = os.environ.get(HASH_SLOT_DESCRIPTOR)
    return SharedPlaces(int(descriptor), settings.hash_slots) if descriptor else None


def _init_cors(app: Flask, settings: Settings) -> None:
    @cross_origin(
        origins=[_literal(origin) for origin in settings.cors_origins],
        supports_credentials=True,
        methods=CORS_METHODS,
        allow_headers=CORS_HEADERS,
        expose_headers=["Retry-After", logs.REQUEST_ID_HEADER],
        max_age=PREFLIGHT_SECONDS,
        always_send=False,
        automatic_options=False,
        vary_header=False,  # FixedHeaders adds it to every answer, Flask-CORS only to some
    )
    def add_cors_headers(answer: Response) -> Response:
        return answer

    # Flask-CORS's own hook takes a tenth of a whole request to see that there is no Origin.
    app.after_request(lambda answer: add_cors_headers(answer) if "HTTP_ORIGIN" in request.environ else answer)


def _literal(origin: str) -> str | re.Pattern[str]:
    """Return what makes Flask-CORS match `origin` and nothing else; it takes brackets for a pattern."""
    return re.compile(re.escape(origin) + r"\Z") if "[" in origin else origin


class ShortLists:
    """WSGI middleware that leaves the last kilobyte of headers which libraries take apart piece by piece.

    A client may repeat a header until the head is full, and Flask-CORS would take 40 ms for the pieces. The
    last ones count: proxies append to X-Forwarded-For. No browser asks for a kilobyte of headers.
    """

    HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
    MAX_CHARACTERS = 1024

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        for name in self.HEADERS:
            if name in environ:
                environ[name] = environ[name][-self.MAX_CHARACTERS :]
        return self._app(environ, start_response)


class FixedHeaders:
    """WSGI middleware for the headers that every answer has."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        fixed = [("Vary", "Origin"), ("X-Content-Type-Options", "nosniff")]

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            if environ["REQUEST_METHOD"] == "OPTIONS" and status.startswith("200"):
                status = "204 NO CONTENT"  # Flask's own answer is an empty page of HTML
            if status.startswith("204"):  # no content has no type
                headers = [header for header in headers if not header[0].startswith("Content-")]
            # RFC 6749 section 5.1. Not for errors: Chromium keeps one that nobody reads pending.
            if status.startswith("2") and environ["PATH_INFO"].lstrip("/").startswith("api"):
                headers.append(("Cache-Control", "no-store"))
            return start_response(status, headers + fixed, *exc_info)

        return self._app(environ, start)


def _apply_schema(database: Database) -> None:
    try:
        database.apply_schema()
    except DatabaseUnavailable as exc:
        log.error("schema_not_applied: %s; the service answers 503 until that is mended", exc)


if __name__ == "__main__":
    if not find_spec("dev"):  # as in the image
        sys.exit("python app.py is for development, which is not installed here: start gunicorn instead.")
    from dev import server

    server.run(create_app)
