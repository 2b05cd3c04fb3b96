"""How many cores and how much memory the machine or the container grants, and the defaults that follow.

Python counts the cores of the machine, also inside a container. If a container with `--cpus 1` computes with
one process for each core of the machine, the kernel stops the container for most of each tenth of a second
(CPU throttling).
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROCESS_BYTES = 40 * 1024**2  # memory of each worker, and of gunicorn itself
# PostgreSQL grants 100 by default. It reserves three; the rest is for psql and for other services.
MAX_CONNECTIONS = 90
POOL_SIZE = 8
MAX_LIMIT_BYTES = 2**60  # control groups of version 1 write a larger number where they mean "no limit"


def available_cpus(root: Path = Path("/")) -> int:
    """Return how many cores this process may use, at least 1. A fraction of a core counts as one core."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cpus, *map(math.ceil, _cpu_quotas(root))]))


def memory(root: Path = Path("/")) -> int | None:
    """Return how many bytes all processes of the control group may use. Returns None if there is no limit."""
    texts = [_read(group / "memory.max") for group in _control_groups("", root)]
    texts += [_read(group / "memory.limit_in_bytes") for group in _control_groups("memory", root)]
    limits_bytes = [int(text) for text in texts if text.isdigit()]
    return min((limit for limit in limits_bytes if limit < MAX_LIMIT_BYTES), default=None)


def limits() -> str:
    """Return, for the log, the limits that the defaults follow from."""
    memory_bytes = memory()
    memory_text = f"{memory_bytes // 1024**2} MB of memory" if memory_bytes else "no limit of memory"
    cpus_text = f"{available_cpus()} of the machine's {os.cpu_count()} cores"
    return f"{cpus_text}, {memory_text}, room for {MAX_CONNECTIONS} connections"


def workers(pool_size: int = POOL_SIZE) -> int:
    """Return how many workers fit: one a core, within the memory and PostgreSQL's connections.

    pool_size: connections of each worker, beside the one for /health.
    """
    maxima = [available_cpus(), MAX_CONNECTIONS // (pool_size + 1)]
    if memory_bytes := memory():
        maxima.append(memory_bytes // PROCESS_BYTES - 1)
    return max(1, min(maxima))


def pool_size(worker_count: int) -> int:
    """Return how many connections each worker may hold, beside the one for /health."""
    return max(1, min(POOL_SIZE, MAX_CONNECTIONS // worker_count - 1))


def _cpu_quotas(root: Path) -> Iterator[float]:
    """Yield how many cores each control group may use. Groups without a limit yield nothing."""
    for group in _control_groups("", root):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdigit():
            yield int(quota) / int(period)
    for group in _control_groups("cpu", root):
        quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # -1: no limit
            yield int(quota) / int(period)


def _control_groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folder of this process's control group and the folders of the groups that contain it.

    controller: a controller's name for control groups of version 1, "" for version 2. Inside a container the
    container's own group is the outermost, whatever path the kernel writes into /proc/self/cgroup.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            outermost = root / "sys/fs/cgroup" / controller
            group = outermost / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(outermost))


def _read(path: Path) -> str:
    """Return the text of a file, "" if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
