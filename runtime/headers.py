"""HTTP headers for every route: CORS, the headers of every answer, and what proxies tell in a request."""

import logging
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from flask_cors import cross_origin
from werkzeug.middleware.proxy_fix import ProxyFix

from runtime import logs
from runtime.wsgi import CONTENT_POLICY, FIXED_HEADERS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CORS_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# Frontends add the last four to trace a request (W3C Trace Context and Baggage, Sentry).
CORS_HEADERS = ["Authorization", "Content-Type", logs.REQUEST_ID_HEADER]
CORS_HEADERS += ["traceparent", "tracestate", "baggage", "sentry-trace"]
HEADERS_OF_PAGES = FIXED_HEADERS
HEADERS_OF_OTHERS = [*FIXED_HEADERS, CONTENT_POLICY]
STRICT_TRANSPORT = ("Strict-Transport-Security", "max-age=31536000")  # seconds: a year
PREFLIGHT_SECONDS = 600  # Chromium caches a preflight for two hours at most, other browsers for less

log = logging.getLogger("headers")


def init_app(app: Flask, *, cors_origins: Iterable[str]) -> None:
    """Add the headers that every answer has, and those of CORS for `cors_origins`."""
    app.wsgi_app = FixedHeaders(app.wsgi_app)  # type: ignore[method-assign]
    _init_cors(app, cors_origins)


def trust_proxies(app: Flask, *, hops: int) -> None:
    """Take the client's address from X-Forwarded-For, `hops` entries from its end, and the scheme likewise.

    The scheme is the last entry of X-Forwarded-Proto. With 0 hops both headers are ignored: a client could
    forge them.
    """
    https = StrictTransport(app.wsgi_app)
    proxy = ProxyFix(https, x_for=hops) if hops else ProxyWarning(app.wsgi_app)
    app.wsgi_app = proxy  # type: ignore[method-assign]
    app.wsgi_app = HeaderLimit(app.wsgi_app)  # type: ignore[method-assign]


def _init_cors(app: Flask, origins: Iterable[str]) -> None:
    @cross_origin(
        origins=[_literal(origin) for origin in origins],
        supports_credentials=True,
        methods=CORS_METHODS,
        allow_headers=CORS_HEADERS,
        expose_headers=["Retry-After", logs.REQUEST_ID_HEADER],
        max_age=PREFLIGHT_SECONDS,
        always_send=False,
        automatic_options=False,
        vary_header=False,  # FixedHeaders adds Vary to every answer, Flask-CORS to some only
    )
    def add_cors_headers(answer: Response) -> Response:
        return answer

    # Without an Origin header, Flask-CORS's own hook would still cost a tenth of the whole request.
    app.after_request(lambda answer: add_cors_headers(answer) if "HTTP_ORIGIN" in request.environ else answer)


def _literal(origin: str) -> str | re.Pattern[str]:
    """Return what makes Flask-CORS match exactly `origin`: it reads a text with brackets as a pattern."""
    return re.compile(re.escape(origin) + r"\Z") if "[" in origin else origin


class HeaderLimit:
    """WSGI middleware that cuts the headers which libraries split into pieces to their last kilobyte.

    Attack: a client repeats a header until the head of the request is full; Flask-CORS would spend 40 ms on
    the pieces. The last kilobyte stays, because proxies append to X-Forwarded-For. Browsers send far less.
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


class ProxyWarning:
    """WSGI middleware that warns once of a proxy which adds X-Forwarded-For, and which nobody trusts."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app
        self._has_warned = False

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if "HTTP_X_FORWARDED_FOR" in environ and not self._has_warned:
            self._has_warned = True
            log.warning(
                "untrusted_proxy: a request has X-Forwarded-For, but TRUSTED_PROXIES is 0. If a proxy adds "
                "it, ALL CLIENTS COUNT AS ONE and share its limits: set TRUSTED_PROXIES to how many add it"
            )
        return self._app(environ, start_response)


class StrictTransport:
    """WSGI middleware that tells a browser which came by HTTPS to come by HTTPS only (HSTS, RFC 6797)."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["wsgi.url_scheme"] != "https":
            return self._app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            return start_response(status, [*headers, STRICT_TRANSPORT], *exc_info)

        return self._app(environ, start)


class FixedHeaders:
    """WSGI middleware for the headers that every answer has.

    A page brings its own Content-Security-Policy: of two policies, browsers would obey both.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            if environ["REQUEST_METHOD"] == "OPTIONS" and status.startswith("200"):
                status = "204 NO CONTENT"  # Flask answers OPTIONS with an empty page of HTML
            if status.startswith("204"):  # an answer without content has no content type
                headers = [header for header in headers if not header[0].startswith("Content-")]
            # RFC 6749 section 5.1. Errors lack it: Chromium keeps an unread one pending.
            if status.startswith("2") and environ["PATH_INFO"].lstrip("/").startswith("api"):
                headers.append(("Cache-Control", "no-store"))
            has_policy = any(name == CONTENT_POLICY[0] for name, _ in headers)
            fixed = HEADERS_OF_PAGES if has_policy else HEADERS_OF_OTHERS
            return start_response(status, headers + fixed, *exc_info)

        return self._app(environ, start)
