"""`make fuzz`: at least 100,000 made-up calls within ten minutes, every answer compared with openapi.yaml.

Starts a PostgreSQL and the service under gunicorn. First the `schemathesis` command sends the examples of
the contract, its boundary values and chains of calls; then calls.py sends random ones. Exits with 1 when
an answer is wrong or there were fewer calls.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from dev import postgres as embedded_postgres
from runtime.capacity import available_cpus
from tests.support import ROOT, service
from tests.support.service import Service

BIN = ROOT / ".venv-fuzz" / "bin"
CONFIG = ROOT / "fuzz" / "schemathesis.toml"
CALLS = 100_000
SECONDS = 570.0  # with the start and the end, under ten minutes
COMMAND_SECONDS = 45
SEED = int(os.environ.get("SEED", "1"))
# before_call sends a valid token where these two expect a bad one, and a known password for a bad one.
NOT_CHECKED = "ignored_auth,negative_data_rejection"


def main() -> int:
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # PostgreSQL runs as another user
        server = stack.enter_context(embedded_postgres.running(folder / "postgres"))
        environ = {
            "DB_URL": server.url,
            "SECRET_KEY": "a-key-for-the-fuzzer-of-32-bytes",
            "BCRYPT_ROUNDS": "4",
            **service.UNREACHED_LIMITS,
            "PASSWORD_BLOCKLIST": "off",  # the contract cannot say which passwords are common
            "SMTP_URL": "smtp://127.0.0.1:1",  # nothing listens there: the mails wait
            "MAIL_FROM": "Fuzz <fuzz@example.com>",
            "FRONTEND_URL": "http://localhost:3000",
            "LIMIT_MAIL_REQUESTS": "999999/1s",
        }
        running = stack.enter_context(service.running(folder / "log", **environ))
        clean = _run_command(running, folder)
        clean = _run_calls(running, SECONDS - (time.monotonic() - started)) and clean
        statuses = _statuses(running)
    enough = statuses.total() >= CALLS
    print(f"{statuses.total()} calls in {time.monotonic() - started:.0f} s, seed {SEED}")
    print(", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))
    print("clean" if clean else "not clean", "" if enough else f"but fewer than {CALLS} calls")
    return 0 if clean and enough else 1


def _run_command(running: Service, folder: Path) -> bool:
    command = [str(BIN / "schemathesis"), "--config-file", str(CONFIG), "run", f"{running.url}/openapi.json"]
    command += ["--seed", str(SEED)]
    command += ["--phases", "examples,coverage,stateful", "--max-time", str(COMMAND_SECONDS)]
    command += ["--checks", "all", "--exclude-checks", NOT_CHECKED, "--continue-on-failure"]
    command += ["--warnings", "off", "--no-color"]
    return subprocess.run(command, cwd=folder, env=_environ(running, SEED)).returncode == 0


def _run_calls(running: Service, seconds: float) -> bool:
    """Run calls.py once a core; return whether none found anything."""
    command = [str(BIN / "python"), "-m", "fuzz.calls", str(seconds)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=_environ(running, SEED + number))
        for number in range(available_cpus())
    ]
    statuses = [process.wait() for process in processes]
    return not any(statuses)


def _environ(running: Service, seed: int) -> dict[str, str]:
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    fuzz = {"FUZZ_URL": running.url, "FUZZ_SEED": str(seed), "SCHEMATHESIS_HOOKS": "fuzz.hooks"}
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path, **fuzz}


def _statuses(running: Service) -> "Counter[int]":
    """Return how often the service answered with which status: what it logged itself."""
    lines = [line for line in running.log.read_text().splitlines() if '"logger": "access"' in line]
    return Counter(int(json.loads(line)["status"]) for line in lines)


if __name__ == "__main__":
    sys.exit(main())
