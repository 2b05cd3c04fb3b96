"""The requirements files: exact versions of everything that is installed."""

import re
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement

from tests.support import ROOT


def pins(name: str) -> dict[str, str]:
    """Return package and version of every line of a requirements file."""
    versions = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith(("#", "-r ")):
            package, _, version = line.partition("==")
            versions[package.lower().replace("_", "-")] = version
    return versions


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_exact(name: str) -> None:
    for package, version in pins(name).items():
        assert re.fullmatch(r"[a-z0-9.-]+==[0-9]+(\.[0-9]+)+", f"{package}=={version}")


def test_requirements_pin_what_the_packages_pull_in() -> None:
    pinned = set(pins("requirements.txt"))

    for package in pinned:
        for needed in map(Requirement, requires(package) or []):
            if not needed.marker or needed.marker.evaluate({"extra": ""}):
                assert needed.name.lower().replace("_", "-") in pinned, f"{package} needs {needed.name}"
