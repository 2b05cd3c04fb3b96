"""What the container's HEALTHCHECK runs: one line that says how the service is, and an exit status."""

import json
import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_SECONDS = 4


def ask() -> tuple[str, int]:
    """Return what /health says, and 0 when the service is healthy."""
    port = os.environ.get("PORT", "").strip("\ufeff \t\r\n\"'") or "8080"  # as an env-file may leave it
    connection = HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT_SECONDS)
    try:
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
