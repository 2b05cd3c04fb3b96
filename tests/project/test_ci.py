"""The workflow of continuous integration runs the project's own commands on every supported Python."""

import re
from typing import Any

import yaml

from tests.conftest import ALONE
from tests.support import ROOT
from tests.support.documents import README

SUPPORTED = ["3.10", "3.11", "3.12", "3.13"]


def job() -> dict[str, Any]:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    read: dict[str, Any] = workflow["jobs"]["test"]
    return read


def test_workflow_lints_and_tests_on_every_supported_python() -> None:
    assert job()["strategy"]["matrix"]["python"] == SUPPORTED
    assert job()["steps"][-1]["run"] == "make lint test PYTHON=python${{ matrix.python }}"
    assert f"Python {SUPPORTED[0]} to {SUPPORTED[-1]}" in README


def test_actions_are_pinned_by_their_major_version() -> None:
    used = [step["uses"] for step in job()["steps"] if "uses" in step]

    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)


def test_dependency_updates_are_monthly_and_grouped() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]

    assert {update["package-ecosystem"] for update in updates} == {"pip", "github-actions", "docker", "npm"}
    for update in updates:
        assert update["schedule"] == {"interval": "monthly"}
        assert update["groups"]
        for folder in update.get("directories") or [update["directory"]]:
            assert (ROOT / folder.lstrip("/")).is_dir()


def test_files_that_are_tested_alone_exist() -> None:
    assert [path for path in ALONE if not (ROOT / path).is_file()] == []
