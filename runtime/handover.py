"""What SIGHUP does beyond gunicorn's own: a release that cannot start leaves the one before it serving.

gunicorn ends the service when it cannot read its configuration again, or when the new workers fail to start.
"""

import logging
import subprocess
import sys
from dataclasses import replace

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.arbiter import Arbiter

TRY_SECONDS = 8  # gunicorn's first process does nothing else meanwhile, and a stop has 30 s in all
NO_DATABASE = "postgresql://127.0.0.1:1/none"  # nothing listens there: a try must not change tables, nor wait


def guard(server: Arbiter) -> None:
    """Let SIGHUP reload the service only if what is in its folder then can start."""
    reload = server.handle_hup

    def reload_if_it_can_start() -> None:
        command = [sys.executable, __file__, *sys.argv[1:]]
        try:
            tried = subprocess.run(command, capture_output=True, text=True, timeout=TRY_SECONDS)
            why = [line.strip() for line in tried.stderr.splitlines() if line.strip()]
        except subprocess.TimeoutExpired:
            tried, why = None, [f"it did not start within {TRY_SECONDS} s"]
        if tried and tried.returncode == 0:
            reload()
        else:
            places = [line for line in why if line.startswith("File ")]
            logging.getLogger("gunicorn.error").error("reload_refused: %s", " ".join(why[-1:] + places[-1:]))

    server.handle_hup = reload_if_it_can_start  # type: ignore[method-assign]


def try_to_start() -> None:
    """Make what gunicorn and its workers make at their start. Raises whatever keeps it from being made."""
    WSGIApplication(prog="gunicorn")  # reads gunicorn.conf.py
    settings = sys.modules["__config__"].settings
    from app import create_app

    create_app(replace(settings, db_url=NO_DATABASE))


if __name__ == "__main__":
    try_to_start()
