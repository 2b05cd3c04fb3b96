"""The Makefile: what `make clean` removes, what a failed installation says, and a folder that moved."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

KEPT = {".data", ".env"}

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the Makefile and what it installs from, and a space in its name."""
    folder = tmp_path / "user service"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def make(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run make as from a terminal: without what the `make test` around this test has set."""
    outer = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON", "VENV")
    environ = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=60
    )


def test_clean_removes_all_that_git_ignores_but_data_and_settings(folder: Path) -> None:
    kept = {path.name for path in folder.iterdir()} | KEPT
    patterns = (ROOT / ".gitignore").read_text().split()
    for pattern in patterns:
        (folder / pattern.strip("/").replace("*", "-x")).mkdir(parents=True)
    for deeper in ("auth/features/__pycache__", "tests/client/node_modules"):
        (folder / deeper).mkdir(parents=True)

    done = make(folder, "clean")

    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} - {"auth", "tests", "node_modules"} == kept
    assert not [path for path in folder.rglob("*") if path.name in ("__pycache__", "build")]
    assert not (folder / "tests/client/node_modules").exists()


def test_no_target_runs_a_script_whose_first_line_names_the_folder() -> None:
    text = (ROOT / "Makefile").read_text()
    programs = set(re.findall(r"(?:\$\(BIN\)|/bin)/([\w-]+)", text))

    assert programs == {"python", "hadolint"}
    hadolint = Path(sys.executable).with_name("hadolint")
    assert not hadolint.read_bytes().startswith(b"#!")


@pytest.mark.slow
def test_install_that_fails_names_the_likely_causes(folder: Path) -> None:
    (folder / "requirements-dev.txt").write_text("no-package-has-this-name==1\n")

    done = make(
        folder, "install", f"PYTHON={sys.executable}", "PIP_INDEX_URL=http://127.0.0.1:1/", "PIP_RETRIES=0"
    )

    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "this takes about a minute" in output
    assert "HTTPS_PROXY" in output
    assert "PIP_INDEX_URL" in output
    assert not list(folder.rglob(".installed"))
