"""The command of the container's HEALTHCHECK: it prints one line and exits with a status."""

import json
import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_SECONDS = 4


def ask() -> tuple[str, int]:
    """Return a line for the operator and the exit status: 0 if the service is healthy, else 1."""
    # An env-file may leave a byte order mark, blanks or quotes around the value.
    port = os.environ.get("PORT", "").strip("\ufeff \t\r\n\"'") or "8080"
    try:
        connection = HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT_SECONDS)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        body = json.loads(answer.read())
    except (OSError, HTTPException, ValueError) as exc:
        return f"unhealthy: no answer ({type(exc).__name__}: {exc})", 1
    return ": ".join(filter(None, [body["status"], body.get("error")])), int(answer.status != 200)


if __name__ == "__main__":
    line, status = ask()
    sys.stdout.write(f"{line}\n")
    sys.exit(status)
