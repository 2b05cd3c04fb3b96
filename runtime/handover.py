"""What SIGHUP does beyond gunicorn's own: a release that cannot start leaves the previous one serving.

gunicorn alone would end the service if it cannot read its configuration again, or if the new workers fail to
start. So a trial comes first: a child process in which `gunicorn --check-config` reads gunicorn.conf.py and
makes the app.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable

TRIAL_SECONDS = 8  # gunicorn's first process does nothing else during a trial, and has 30 s for a stop
# Nothing listens on port 1: a trial must neither change tables nor wait for PostgreSQL.
NO_DATABASE_URL = "postgresql://127.0.0.1:1/none"
_TRIAL = "USER_SERVICE_TRIAL"  # from this module to the gunicorn.conf.py of a trial; not for operators

log = logging.getLogger("gunicorn.error")


def guarded(reload: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls `reload` only if the code and the settings in the folder can start."""

    def reload_if_release_can_start() -> None:
        if reason := _why_release_cannot_start():
            log.error("reload_refused: %s", reason)
        else:
            reload()

    return reload_if_release_can_start


def is_trial() -> bool:
    """Return whether this process only tries whether a release can start."""
    return _TRIAL in os.environ


def _why_release_cannot_start() -> str | None:
    """Start the release as a trial. Returns None if it can start, otherwise the reason in one line."""
    command = [sys.executable, "-m", "gunicorn", "--check-config", *sys.argv[1:]]
    environ = os.environ | {_TRIAL: "1"}
    try:
        trial = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        return f"it did not start within {TRIAL_SECONDS} s"
    if trial.returncode == 0:
        return None
    lines = [line.strip() for line in trial.stderr.splitlines() if line.strip()]
    places = [line for line in lines if line.startswith("File ")]
    return " ".join(lines[-1:] + places[-1:]) or f"exit status {trial.returncode}"
