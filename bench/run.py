"""`make bench`: what one request costs, and what a storm of logins does, as ratios measured side by side.

Starts what it needs: a PostgreSQL, the service under its production settings, the bare Flask app under
gunicorn's own threaded worker, and locust in a process of its own. Exits with 1 when a target errs or a
bound is missed.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auth import users
from bench import limits, measure
from db import Database
from dev import postgres as embedded_postgres
from runtime.capacity import available_cpus
from tests.support import service

ROOT = Path(__file__).parents[1]
LOCUST = [str(ROOT / ".venv-bench" / "bin" / "python"), "-m", "locust"]
USERS = 1_000
MANY_USERS = 1_000_000
CORES = available_cpus()
MOST_FOR_OTHERS = 0.10  # of the cores, before the figures mean little


@dataclass(frozen=True)
class Row:
    """One line of the table; `bound` is None where the figure is only told."""

    what: str
    value: float
    unit: str
    bound: Callable[[float], bool] | None = None
    promise: str = ""

    def kept(self) -> bool:
        return self.bound is None or self.bound(self.value)


def at_most(limit: float) -> Callable[[float], bool]:
    return lambda value: value <= limit


def at_least(limit: float) -> Callable[[float], bool]:
    return lambda value: value >= limit


class Bench:
    """Everything that runs, and the figures so far."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.rows: list[Row] = []
        self._folder = folder
        server = stack.enter_context(embedded_postgres.running(folder / "postgres"))
        self._server_url = server.url
        self.small = measure.database(server.url, "small", users=USERS)
        self.large = measure.database(server.url, "large", users=MANY_USERS)
        environ = {"DB_URL": self.small, "SECRET_KEY": measure.SECRET_KEY}
        environ |= {"GUNICORN_WORKERS": str(CORES), "PYTHONPATH": str(ROOT / "bench")}
        # All of them come from one address.
        environ["LIMIT_REGISTRATIONS"] = service.UNREACHED_LIMITS["LIMIT_REGISTRATIONS"]
        started = time.monotonic()
        self.service = stack.enter_context(service.running(folder / "service.log", **environ))
        self._add("start to first answer", time.monotonic() - started, "s", at_most(1.0), "under 1")
        self.bare = stack.enter_context(
            service.running(
                folder / "bare.log",
                *("bare_app:app", "--worker-class", "gthread"),
                path="/me",
                **environ,
            )
        )

    def cost_of_me(self) -> None:
        """Compare the CPU of the service's workers with the bare app's, both asked in turn by one client."""
        ratios = []
        for _ in range(5):
            before = measure.cpu_seconds(self.service.workers()), measure.cpu_seconds(self.bare.workers())
            counts = self._load({"Reader": 4}, seconds=6)
            after = measure.cpu_seconds(self.service.workers()), measure.cpu_seconds(self.bare.workers())
            ours, theirs = (
                (b - a) / counts[name]["num_requests"]
                for a, b, name in zip(before, after, ("me", "bare"), strict=True)
            )
            ratios.append(ours / theirs)
        self._add(
            "CPU of /me, bare app under gthread = 1",
            statistics.median(ratios),
            "",
            at_most(1.2),
            "at most 1.20",
        )
        self._add("  lowest and highest of 5 rounds", min(ratios), "")
        self._add("", max(ratios), "")

    def storm_of_logins(self) -> None:
        """Compare accepted logins a second with what the cores can hash, and watch others' latency."""
        shares, latencies = [], []
        limit = measure.hashes_a_second(4)
        for _ in range(3):
            counts = self._load({"Hammer": 32, "Visitor": 4}, seconds=12)
            next_limit = measure.hashes_a_second(4)
            shares.append(measure.rate(counts["login"]) / statistics.mean((limit, next_limit)))
            latencies.append(measure.percentile(counts["me"], 0.99))
            limit = next_limit
        share, latency = statistics.median(shares), statistics.median(latencies)
        self._add("logins in a storm of 32, bcrypt limit = 1", share, "", at_least(0.90), "at least 0.90")
        self._add("p99 of /me meanwhile", latency, "ms", at_most(50), "at most 50")

    def hashing_routes(self) -> None:
        """Compare logins and registrations a second, with fewer clients than may wait, with the limit."""
        for user_class, name in (("Hammer", "login"), ("Newcomer", "register")):
            shares = []
            limit = measure.hashes_a_second(4)
            for _ in range(3):
                counts = self._load({user_class: 4 * CORES}, seconds=10)
                next_limit = measure.hashes_a_second(4)
                shares.append(measure.rate(counts[name]) / statistics.mean((limit, next_limit)))
                limit = next_limit
            share = statistics.median(shares)
            self._add(f"{name}s, bcrypt limit = 1", share, "", at_least(0.95), "at least 0.95")

    def growth(self) -> None:
        """Compare what the statements cost with a thousand users and with a million."""
        statements: dict[str, Callable[[Database], object]] = {
            "login by email": lambda database: measure.find_by_login(database, "user7@example.com"),
            "login by username": lambda database: measure.find_by_login(database, "user7"),
            "/me": lambda database: database.read(users.find, measure.principal(7)),
            "refused registration": lambda database: measure.refused(database),
        }
        ratios: dict[str, list[float]] = {name: [] for name in statements}
        # Which core a connection's process runs on is chance, so each round opens new ones.
        for _ in range(9):
            small, large = Database(self.small), Database(self.large)
            for name, run in statements.items():
                seconds = measure.medians(run, (small, large), times=300)
                ratios[name].append(seconds[1] / seconds[0])
            small.close()
            large.close()
        for name, of_rounds in ratios.items():
            ratio = statistics.median(of_rounds)
            self._add(f"{name}: a million users, a thousand = 1", ratio, "", at_most(1.1), "under 1.1")

    def cost_of_limits(self) -> None:
        """Compare a login with limits and one without, and log in while one address guesses."""
        url = measure.database(self._server_url, "limits", users=1)
        costs = limits.costs(self._folder, url)
        later = [cost.milliseconds for cost in costs]
        cpu = statistics.median(cost.cpu_milliseconds for cost in costs)
        self._add(
            "limits: p50 of a login, later by", statistics.median(later), "ms", at_most(1.0), "at most 1"
        )
        self._add("  lowest and highest of 5 rounds", min(later), "ms")
        self._add("", max(later), "ms")
        self._add("limits: CPU of the worker for a login, more by", cpu, "ms")
        honest = limits.honest_user(self._folder, url, workers=CORES)
        self._add(
            "logins elsewhere in a storm of 120: slowest", honest.slowest, "s", at_most(3.0), "at most 3"
        )
        self._add(f"  refused, of {honest.attempts}", honest.refused, "", at_most(0), "0")

    def memory(self) -> None:
        """Report the workers' proportional share of memory after all that load."""
        most = max(measure.pss_megabytes(pid) for pid in self.service.workers())
        self._add("memory of a worker (PSS)", most, "MB", at_most(50), "at most 50")

    def _add(
        self,
        what: str,
        value: float,
        unit: str,
        bound: Callable[[float], bool] | None = None,
        promise: str = "",
    ) -> None:
        row = Row(what, value, unit, bound, promise)
        self.rows.append(row)
        missed = "" if row.kept() else "  MISSED"
        print(f"{what:<54} {value:>8.3f} {unit:<3} {promise}{missed}", flush=True)

    def _load(self, number_of_users: dict[str, int], *, seconds: int) -> dict[str, dict[str, Any]]:
        """Run locust and return its figures by name. Exits when a request failed."""
        environ = os.environ | {
            "SERVICE_URL": self.service.url,
            "BARE_URL": self.bare.url,
            "TOKENS": ",".join(measure.token(user_id) for user_id in range(1, 101)),
        }
        total = sum(number_of_users.values())
        command = [
            *LOCUST,
            "-f",
            "bench/load.py",
            *number_of_users,
            "--headless",
            "--json",
            "--only-summary",
        ]
        command += ["-u", str(total), "-r", str(total), "-t", f"{seconds}s", "--loglevel", "ERROR"]
        environ["COUNTS"] = ",".join(f"{name}={count}" for name, count in number_of_users.items())
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
        try:
            figures = {entry["name"]: entry for entry in json.loads(done.stdout)}
        except ValueError:
            sys.exit(f"locust gave no figures:\n{done.stderr}")
        if failed := [name for name, entry in figures.items() if entry["num_failures"]]:
            sys.exit(f"Requests failed: {', '.join(failed)}\n{done.stderr}")
        measure.wait_until_idle(self.service.workers())  # logins that locust left in the queue
        return figures


def main() -> None:
    print(f"{measure.machine()}, load average {os.getloadavg()[0]:.2f}\n", flush=True)
    before = measure.Load.now()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(Path(folder), stack)
        bench.growth()
        bench.cost_of_me()
        bench.hashing_routes()
        bench.storm_of_logins()
        bench.memory()
        bench.cost_of_limits()
    # What the benchmark started has ended, so that it counts as its own.
    others = measure.Load.now().others_since(before)
    spoiled = ": SPOILED, repeat it on a calm machine" if others > MOST_FOR_OTHERS else ""
    print(f"\nMeanwhile others used {others:.0%} of the cores{spoiled}.")
    sys.exit(0 if all(row.kept() for row in bench.rows) else 1)


if __name__ == "__main__":
    main()
