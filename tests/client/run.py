"""`make client`: generate the types, compile the client and let it use a service of its own.

Needs Node.js 20 or newer with npm. Exits with 1 when a step fails.
"""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from dev import postgres as embedded_postgres
from tests.support import service

FOLDER = Path(__file__).parent


def main() -> int:
    for step in ("generate", "compile"):
        if _npm(step):
            return 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # PostgreSQL runs as another user
        server = stack.enter_context(embedded_postgres.running(folder / "postgres"))
        environ = {
            "DB_URL": server.url,
            "SECRET_KEY": "a-key-for-one-client-of-32-bytes",
            "BCRYPT_ROUNDS": "4",
        }
        running = stack.enter_context(service.running(folder / "log", **environ))
        return _npm("session", running.url)


def _npm(script: str, *arguments: str) -> int:
    command = ["npm", "--prefix", str(FOLDER), "run", "--silent", script, "--", *arguments]
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
