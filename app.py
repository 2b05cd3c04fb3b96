"""The application factory: what the service consists of. `python app.py` serves it for development."""

import sys
from importlib.util import find_spec

from flask import Flask

import auth
from config import Settings, read_environment
from db import Database
from ops import commands, health, openapi, startup
from runtime import headers, logs
from runtime.limits import MAX_BODY_BYTES


def create_app(settings: Settings | None = None) -> Flask:
    """Return the service as a Flask app.

    settings: None stands for those of the environment and `.env`. Raises ConfigError if one of them is bad.
    The app also starts while the database is away: the next request tries to reach it again.
    """
    settings = settings or Settings.from_env(read_environment())
    logs.configure(settings.log_level)
    startup.warn_operator(settings)

    app = Flask(__name__, static_folder=None)
    _configure_flask(app)
    # Each middleware wraps the ones before it: an answer passes them in this order, a request in reverse.
    headers.init_app(app, cors_origins=settings.cors_origins)
    logs.init_app(app)
    headers.trust_proxies(app, hops=settings.trusted_proxies)

    database = Database(settings.db_url, pool_size=settings.db_pool_size)
    startup.apply_schema(database)
    auth.init_app(app, settings, database)
    health.init_app(app, database)
    openapi.init_app(app)
    commands.init_app(app, database)
    return app


def _configure_flask(app: Flask) -> None:
    app.debug = False  # Flask itself reads FLASK_DEBUG; under gunicorn it must never show a debugger
    app.url_map.merge_slashes = False  # with it, //health would be redirected with a page of HTML
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # One byte above the limit: Werkzeug silently cuts a chunked body off at MAX_CONTENT_LENGTH.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1


if __name__ == "__main__":
    if not find_spec("dev"):  # the image has no dev/
        sys.exit("python app.py is for development, which is not installed here: start gunicorn instead.")
    from dev import server

    server.run(create_app)
