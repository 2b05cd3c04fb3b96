"""Log lines: one JSON object a line on stdout, each with the id of the request that it belongs to."""

import json
import logging
import logging.config
import re
import secrets
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from flask import has_request_context, request

from runtime import addresses
from runtime.line_writer import LineWriter, write_now

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID_HEADER = "X-Request-ID"
MESSAGE_LENGTH = 2000
_REQUEST_ID = "user_service.request_id"
_ACCEPTABLE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # Werkzeug's warnings are red

_quoted = json.encoder.encode_basestring_ascii

access_log = logging.getLogger("access")


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON object.

    Keys: time, level, logger, message; request_id inside a request; for an exception `exception`
    (its type) and `frames`. Its own text is left out: it may quote a row, and a row holds a hash.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _utc(record.created),
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
    """Cut a message in its middle: what happened stands at its begin, and the cause often at its end."""
    half = MESSAGE_LENGTH // 2
    return message if len(message) <= MESSAGE_LENGTH else f"{message[:half]} ... {message[-half:]}"


def configure(level: str) -> None:
    """Send every log line of the process to stdout as JSON."""
    # What our lines do not show need not be looked up for each (Python's Logging HOWTO, "Optimization").
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
    """Writes formatted records with `write`."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            write(self.format(record))
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say in a line of its own that one is missing, for a log call must not fail the request.

        The standard library prints a traceback here, with the arguments: they may hold secrets.
        """
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        failed = logging.LogRecord(
            record.name, logging.ERROR, "", 0, "log_line_failed: %.200s", (text,), None
        )
        write(self.format(failed))


write = write_now
_writer: LineWriter | None = None


def start_writer() -> None:
    """From now on write in a thread: a request must not wait for who reads stdout."""
    global write, _writer
    _writer = LineWriter(lambda count: logging.getLogger("logs").warning("log_lines_dropped count=%d", count))
    write = _writer.write


def end_writer() -> None:
    """Write what is left, and again at once from now on."""
    global write
    write = write_now
    if _writer:
        _writer.end()


class RequestLog:
    """WSGI middleware that gives every request an id, and every answer that id and a log line.

    REMOTE_ADDR is an IP address, or empty, for all that comes behind it.

    Outside Flask, so that no answer escapes it. The line is written by hand: made by `logging` it
    would cost a tenth of the whole request.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        started = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _ACCEPTABLE_REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        environ[_REQUEST_ID] = request_id
        environ["REMOTE_ADDR"] = addresses.of_client(environ.get("REMOTE_ADDR") or "")

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            headers.append((REQUEST_ID_HEADER, request_id))
            if access_log.isEnabledFor(logging.INFO):
                write(_access_line(environ, status[:3], time.perf_counter() - started))
            return start_response(status, headers, *exc_info)

        return self._app(environ, start)


def _access_line(environ: "WSGIEnvironment", status: str, seconds: float) -> str:
    """Return the line that JsonFormatter would make; without the query string: people put secrets there."""
    # PEP 3333. Cut, because a pipe takes no more than 4096 bytes without letting others in between.
    path = environ["PATH_INFO"][:500].encode("latin-1").decode("utf-8", "replace")
    return (
        f'{{"time": "{_utc(time.time())}", "level": "INFO", "logger": "access", "message": "request", '
        f'"request_id": "{environ[_REQUEST_ID]}", "method": {_quoted(environ["REQUEST_METHOD"])}, '
        f'"path": {_quoted(path)}, "status": {status}, "duration_ms": {seconds * 1000:.1f}, '
        f'"remote_addr": "{environ["REMOTE_ADDR"]}"}}'
    )


def _utc(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)
    return at.isoformat(timespec="milliseconds") + "Z"
