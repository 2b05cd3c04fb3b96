"""How many cores and how much memory a control group leaves, and the defaults that follow."""

import os
from pathlib import Path

import pytest

from config import Settings
from runtime import capacity
from tests.support import SECRET_KEY

KEYS = {"DB_URL": "postgresql://", "SECRET_KEY": SECRET_KEY}
GIB = 1024**3


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16), raising=False)


def root_with(folder: Path, files: dict[str, str]) -> Path:
    """Return a folder with the files in which the kernel shows the limits, as a stand-in for /."""
    for name, text in files.items():
        path = folder / name.replace("cgroup:", "sys/fs/cgroup/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return folder


CONTAINER = {"proc/self/cgroup": "0::/"}
UNIT = {"proc/self/cgroup": "0::/system.slice/user.service"}
CONTAINER_V1 = {"proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({}, 16, id="no control groups"),
        pytest.param(CONTAINER, 16, id="none to be seen"),
        pytest.param(CONTAINER | {"cgroup:cpu.max": "max 100000"}, 16, id="no limit"),
        pytest.param(CONTAINER | {"cgroup:cpu.max": "100000 100000"}, 1, id="one core"),
        pytest.param(CONTAINER | {"cgroup:cpu.max": "150000 100000"}, 2, id="one and a half"),
        pytest.param(CONTAINER | {"cgroup:cpu.max": "5000 100000"}, 1, id="a twentieth"),
        pytest.param(CONTAINER | {"cgroup:cpu.max": "6400000 100000"}, 16, id="more than the machine has"),
        pytest.param(
            UNIT | {"cgroup:system.slice/user.service/cpu.max": "300000 100000"}, 3, id="systemd unit"
        ),
        pytest.param(
            UNIT
            | {
                "cgroup:system.slice/user.service/cpu.max": "max 100000",
                "cgroup:system.slice/cpu.max": "200000 100000",
            },
            2,
            id="group around it",
        ),
        pytest.param(
            CONTAINER_V1
            | {"cgroup:cpu/cpu.cfs_quota_us": "250000", "cgroup:cpu/cpu.cfs_period_us": "100000"},
            3,
            id="version 1, container",
        ),
        pytest.param(
            CONTAINER_V1
            | {
                "cgroup:cpu/docker/abc/cpu.cfs_quota_us": "100000",
                "cgroup:cpu/docker/abc/cpu.cfs_period_us": "100000",
            },
            1,
            id="version 1, host's view",
        ),
        pytest.param(
            CONTAINER_V1 | {"cgroup:cpu/cpu.cfs_quota_us": "-1", "cgroup:cpu/cpu.cfs_period_us": "100000"},
            16,
            id="version 1, no limit",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/../../other", "cgroup:cpu.max": "200000 100000"}, 2, id="path outside"
        ),
    ],
)
def test_cores_are_those_of_the_quota(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert capacity.available_cpus(root_with(tmp_path, files)) == cores


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        pytest.param(CONTAINER | {"cgroup:memory.max": "max"}, None, id="no limit"),
        pytest.param(CONTAINER | {"cgroup:memory.max": f"{GIB}"}, GIB, id="version 2"),
        pytest.param(CONTAINER_V1 | {"cgroup:memory/memory.limit_in_bytes": f"{GIB}"}, GIB, id="version 1"),
        pytest.param(
            CONTAINER_V1 | {"cgroup:memory/memory.limit_in_bytes": "9223372036854771712"},
            None,
            id="version 1, no limit",
        ),
    ],
)
def test_memory_is_that_of_the_control_group(
    tmp_path: Path, files: dict[str, str], memory: int | None
) -> None:
    assert capacity.memory(root_with(tmp_path, files)) == memory


@pytest.mark.parametrize(
    ("cores", "memory", "environ", "workers", "pool"),
    [
        pytest.param(2, None, {}, 2, 8, id="one a core"),
        pytest.param(16, None, {}, 10, 8, id="PostgreSQL's connections"),
        pytest.param(64, None, {}, 10, 8, id="many cores"),
        pytest.param(16, None, {"DB_POOL_SIZE": "20"}, 4, 20, id="pool is set"),
        pytest.param(16, None, {"DB_POOL_SIZE": "100"}, 1, 100, id="pool is set too high"),
        pytest.param(16, None, {"GUNICORN_WORKERS": "16"}, 16, 4, id="workers are set"),
        pytest.param(16, None, {"GUNICORN_WORKERS": "64"}, 64, 1, id="workers are set too high"),
        pytest.param(16, None, {"GUNICORN_WORKERS": "64", "DB_POOL_SIZE": "9"}, 64, 9, id="both are set"),
        pytest.param(16, 128 * 1024**2, {}, 2, 8, id="little memory"),
        pytest.param(16, 1024**2, {}, 1, 8, id="hardly any memory"),
    ],
)
def test_defaults_fit_the_machine_and_the_database(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    memory: int | None,
    environ: dict[str, str],
    workers: int,
    pool: int,
) -> None:
    monkeypatch.setattr(capacity, "available_cpus", lambda: cores)
    monkeypatch.setattr(capacity, "memory", lambda: memory)

    settings = Settings.from_env(KEYS | environ)

    assert (settings.gunicorn_workers, settings.db_pool_size) == (workers, pool)
    assert settings.hash_slots == cores
