"""What the machine, or the container's limits, let the service use, and the defaults that follow from it.

Python counts the cores of the machine. A container with `--cpus 1` on it is stopped for most of each tenth
of a second when as many processes as the machine has cores compute at once.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

MEMORY_OF_A_PROCESS = 40 * 1024**2  # of each worker, and of gunicorn itself
# Of PostgreSQL's 100: three are reserved, others are left for psql and for the services beside this one.
CONNECTIONS = 90
POOL_SIZE = 8


def available_cpus(root: Path = Path("/")) -> int:
    """Return how many cores this process may use: a share of one counts as one."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([usable, *map(math.ceil, _quotas(root))]))


def memory(root: Path = Path("/")) -> int | None:
    """Return how many bytes this process and those beside it may use, None where nothing limits them."""
    texts = [_read(group / "memory.max") for group in _groups("", root)]
    texts += [_read(group / "memory.limit_in_bytes") for group in _groups("memory", root)]
    limits = [int(text) for text in texts if text.isdigit()]
    return min((limit for limit in limits if limit < 2**60), default=None)  # version 1 has no word for "none"


def limits() -> str:
    """Return for the log what the defaults follow from."""
    limit = memory()
    told = f"{limit // 1024**2} MB of memory" if limit else "no limit of memory"
    cpus = f"{available_cpus()} of the machine's {os.cpu_count()} cores"
    return f"{cpus}, {told}, room for {CONNECTIONS} connections"


def workers(pool_size: int = POOL_SIZE) -> int:
    """Return how many workers fit: one a core, within the memory and PostgreSQL's connections."""
    most = [available_cpus(), CONNECTIONS // (pool_size + 1)]
    if limit := memory():
        most.append(limit // MEMORY_OF_A_PROCESS - 1)
    return max(1, min(most))


def pool_size(worker_count: int) -> int:
    """Return how many connections each worker may hold, beside the one for /health."""
    return max(1, min(POOL_SIZE, CONNECTIONS // worker_count - 1))


def _quotas(root: Path) -> Iterator[float]:
    """Yield how many cores each control group may use."""
    for group in _groups("", root):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdigit():
            yield int(quota) / int(period)
    for group in _groups("cpu", root):
        quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # -1: no limit
            yield int(quota) / int(period)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of our control group and of those around it, as far as they can be seen.

    controller: that of version 1, "" for version 2. A container sees its own group as the outermost,
    whatever path the kernel tells of it.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            outermost = root / "sys/fs/cgroup" / controller
            group = outermost / path.lstrip("/")
            yield from (found for found in (group, *group.parents) if found.is_relative_to(outermost))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
