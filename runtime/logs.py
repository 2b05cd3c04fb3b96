"""Log lines: one JSON object a line on stdout, each with the id of its request."""

import json
import logging
import logging.config
import re
import secrets
import time
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, has_request_context, request

from runtime import addresses, client, clock
from runtime.line_writer import LineWriter, write_now

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID_HEADER = "X-Request-ID"
MAX_MESSAGE_CHARACTERS = 2000
MAX_PATH_CHARACTERS = 500
_REQUEST_ID = "user_service.request_id"  # the key in a WSGI environ
_ACCEPTABLE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # Werkzeug prints its warnings in red

_quoted = json.encoder.encode_basestring_ascii

access_log = logging.getLogger("access")


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object.

    Keys: time, level, logger and message; inside a request also request_id; for an exception also `exception`
    (its type) and `frames`. The text of an exception is left out: it may quote a row, and rows hold hashes.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": clock.seconds_to_iso(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _shortened(_COLOUR.sub("", record.getMessage())),
        }
        if has_request_context():
            line["request_id"] = request.environ.get(_REQUEST_ID)
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            line["frames"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return json.dumps(line)


def _shortened(message: str) -> str:
    """Cut the middle out of a long message: the event stands at its beginning, the cause often at its end."""
    half = MAX_MESSAGE_CHARACTERS // 2
    return message if len(message) <= MAX_MESSAGE_CHARACTERS else f"{message[:half]} ... {message[-half:]}"


def init_app(app: Flask) -> None:
    """Give every request of `app` an id and an access line."""
    app.wsgi_app = RequestLog(app.wsgi_app)  # type: ignore[method-assign]


def configure(level: str) -> None:
    """Send every log line of the process to stdout as JSON."""
    # `logging` need not look up what our lines do not show (Python's Logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": f"{__name__}.JsonFormatter"}},
            "handlers": {"stdout": {"()": f"{__name__}.StdoutHandler", "formatter": "json"}},
            "root": {"level": level, "handlers": ["stdout"]},
            "loggers": {"gunicorn.error": {"level": level, "handlers": [], "propagate": True}},
        }
    )


class StdoutHandler(logging.Handler):
    """Passes formatted records to `write`."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            write(self.format(record))
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Log that a line could not be made. The log call itself must not fail the request.

        The standard library would print a traceback with the arguments, which may hold secrets.
        """
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        failed = logging.LogRecord(
            record.name, logging.ERROR, "", 0, "log_line_failed: %.200s", (text,), None
        )
        write(self.format(failed))


write = write_now
_writer: LineWriter | None = None


def start_writer() -> None:
    """Write in a thread from now on, so that no request waits for the reader of stdout."""
    global write, _writer
    _writer = LineWriter(lambda count: logging.getLogger("logs").warning("log_lines_dropped count=%d", count))
    write = _writer.write


def end_writer() -> None:
    """Write the lines that still wait, and write without a thread from now on."""
    global write
    write = write_now
    if _writer:
        _writer.end()


class RequestLog:
    """WSGI middleware that gives every request an id, and every answer this id and an access line.

    It wraps Flask, so that every answer has them. The application can rely on REMOTE_ADDR: the middleware
    leaves an IP address or "" in it. The line is formatted by hand: `logging` would cost a tenth of the
    whole request.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        started = time.perf_counter()
        request_id = environ.get("HTTP_X_REQUEST_ID", "")
        if not _ACCEPTABLE_REQUEST_ID.fullmatch(request_id):
            request_id = secrets.token_hex(16)
        environ[_REQUEST_ID] = request_id
        address = addresses.of_client(environ.get("REMOTE_ADDR") or "")
        environ["REMOTE_ADDR"] = client.current.address = address

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            headers.append((REQUEST_ID_HEADER, request_id))
            if access_log.isEnabledFor(logging.INFO):
                write(_access_line(environ, status[:3], time.perf_counter() - started))
            return start_response(status, headers, *exc_info)

        return self._app(environ, start)


def _access_line(environ: "WSGIEnvironment", status: str, seconds: float) -> str:
    """Return the line that JsonFormatter would make, without the query string, which may hold secrets."""
    # Cut: other processes may write into a line of more than 4096 bytes in a pipe. Latin-1: see PEP 3333.
    path = environ["PATH_INFO"][:MAX_PATH_CHARACTERS].encode("latin-1").decode("utf-8", "replace")
    time_text = clock.seconds_to_iso(time.time())
    return (
        f'{{"time": "{time_text}", "level": "INFO", "logger": "access", "message": "request", '
        f'"request_id": "{environ[_REQUEST_ID]}", "method": {_quoted(environ["REQUEST_METHOD"])}, '
        f'"path": {_quoted(path)}, "status": {status}, "duration_ms": {seconds * 1000:.1f}, '
        f'"remote_addr": "{environ["REMOTE_ADDR"]}"}}'
    )
