"""The examples of docs/operating.md for nginx and Kubernetes fit the service."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from config import Settings
from tests.support import ROOT, SECRET_KEY, service
from tests.support.database import MakeDatabase
from tests.support.documents import OPERATING, blocks

DEFAULTS = Settings.from_env({"DB_URL": "postgresql://", "SECRET_KEY": SECRET_KEY})
HEALTH_SECONDS = 3  # what /health takes at most


@contextmanager
def nginx(folder: Path, http: str) -> Iterator[None]:
    """Run nginx with `http` as the content of its http block."""
    folder.mkdir()
    folders = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    settings = folder / "nginx.conf"
    settings.write_text(
        f"pid {folder}/pid; error_log {folder}/errors; daemon off;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{folders}{http}}}\n"
    )
    with subprocess.Popen(["nginx", "-p", str(folder), "-c", str(settings)]) as process:
        try:
            yield
        finally:
            process.terminate()


def get_once_it_listens(url: str, **headers: str) -> int:
    deadline = time.monotonic() + service.START_SECONDS
    while True:
        try:
            return requests.get(url, headers=headers, timeout=5).status_code
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_example_serves_and_passes_the_address_on(make_database: MakeDatabase, tmp_path: Path) -> None:
    (example,) = blocks(OPERATING, "nginx", containing="upstream")
    port = service.free_port()
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "TRUSTED_PROXIES": "1"}

    with service.running(tmp_path / "log", **environ) as running:
        example = re.sub(r"server 10\.0\.0\.\d+:8080;", f"server 127.0.0.1:{running.port};", example)
        example = re.sub(r"^.*ssl_certificate.*\n", "", example, flags=re.MULTILINE)
        example = example.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
        with nginx(tmp_path / "nginx", example):
            forged = {"X-Forwarded-For": "203.0.113.9"}
            status = get_once_it_listens(f"http://127.0.0.1:{port}/health", **forged)

    (line,) = [line for line in running.log.read_text().splitlines() if '"path": "/health"' in line]
    assert status == 200
    assert '"remote_addr": "127.0.0.1"' in line  # what nginx saw, not what the client made up


def test_nginx_example_closes_idle_connections_before_the_service_does() -> None:
    (example,) = blocks(OPERATING, "nginx", containing="upstream")
    (seconds,) = re.findall(r"keepalive_timeout (\d+)s;", example)

    assert int(seconds) < DEFAULTS.keepalive_seconds


@pytest.fixture(scope="module")
def kubernetes() -> list[dict[str, Any]]:
    """The Deployment and the Service of the example."""
    (example,) = blocks(OPERATING, "yaml", containing="kind: Deployment")
    return list(yaml.safe_load_all(example))


def container_of(deployment: dict[str, Any]) -> dict[str, Any]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    read: dict[str, Any] = container
    return read


def test_kubernetes_example_asks_the_health_checks(kubernetes: list[dict[str, Any]]) -> None:
    container = container_of(kubernetes[0])
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")
    }

    assert paths == {"startup": "/health", "readiness": "/health/live", "liveness": "/health/live"}
    assert container["startupProbe"]["timeoutSeconds"] > HEALTH_SECONDS


def test_kubernetes_example_gives_requests_the_time_to_finish(kubernetes: list[dict[str, Any]]) -> None:
    served_by = (ROOT / "gunicorn.conf.py").read_text()
    (graceful_seconds,) = re.findall(r"^graceful_timeout = (\d+)", served_by, re.MULTILINE)
    _, pause_seconds = container_of(kubernetes[0])["lifecycle"]["preStop"]["exec"]["command"]
    grace_seconds = kubernetes[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

    assert grace_seconds > int(pause_seconds) + int(graceful_seconds)


def test_kubernetes_example_connects_its_parts(kubernetes: list[dict[str, Any]]) -> None:
    deployment, address = (part["spec"] for part in kubernetes)
    container = container_of(kubernetes[0])
    labels = deployment["template"]["metadata"]["labels"]
    probes = [container[name]["httpGet"]["port"] for name in container if name.endswith("Probe")]
    ports = [container["ports"][0]["containerPort"], address["ports"][0]["port"], *probes]

    assert deployment["selector"]["matchLabels"] == address["selector"] == labels
    assert set(ports) == {DEFAULTS.port}
