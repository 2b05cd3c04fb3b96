"""README.md and all documents: commands work when pasted, tables match the code, links lead somewhere."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from flask import Flask

from config import Settings
from tests.support import ROOT, SECRET_KEY, service
from tests.support.database import MakeDatabase
from tests.support.documents import CONTRIBUTING, README, blocks, rows

MAX_README_LINES = 150
DEFAULTS = Settings.from_env({"DB_URL": "postgresql://", "SECRET_KEY": SECRET_KEY})
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()
NAMED_TARGETS = {
    target for path in DOCUMENTS for target in re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(), re.M)
}


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES


def test_readme_begins_with_two_commands() -> None:
    (commands,) = blocks(README, "sh", containing="git clone")

    assert commands.splitlines() == [
        "git clone REPOSITORY_URL user-service && cd user-service",
        "make run",
    ]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_readme_curl_lines_work_when_pasted(make_database: MakeDatabase, tmp_path: Path) -> None:
    (commands,) = blocks(README, "sh", containing="curl ")
    # curl itself tells the statuses, so the lines run exactly as they are printed.
    (tmp_path / ".curlrc").write_text('write-out = "%{stderr}%{http_code} %{url_effective}\\n"\n')

    with service.running(tmp_path / "log", DB_URL=make_database(), SECRET_KEY=SECRET_KEY) as running:
        pasted = subprocess.run(
            ["bash", "-e", "-u", "-o", "pipefail", "-c", at(running.url, commands)],
            env={"PATH": os.environ["PATH"], "CURL_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert pasted.returncode == 0, pasted.stderr
    assert pasted.stderr.replace(running.url, "").splitlines() == [
        "201 /api/auth/register",
        "200 /api/auth/login",
        "200 /api/auth/login",
        "200 /api/auth/login",
        "200 /api/auth/me",
        "200 /api/auth/2fa/setup",
        "200 /health",
    ]


def at(url: str, commands: str) -> str:
    """Return README's commands with the address of a service under test."""
    printed = f"http://127.0.0.1:{DEFAULTS.port}/"
    assert commands.count(printed) == commands.count("curl ")
    return commands.replace(printed, f"{url}/")


def test_readme_names_every_endpoint(session_app: Flask) -> None:
    served = {
        f"`{method} {re.sub('<.*>', '{id}', rule.rule)}`"
        for rule in session_app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {row[0] for row in rows(README, "call", "body", "success")} == served


@pytest.mark.parametrize("target", sorted(NAMED_TARGETS))
def test_documents_name_targets_that_the_makefile_has(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_contributing_names_every_target() -> None:
    (commands,) = blocks(CONTRIBUTING, "sh", containing="make run ")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)

    assert set(re.findall(r"^make ([a-z]+)", commands, re.MULTILINE)) == set(phony.split()) - {
        "help",
        "install",
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_document_lead_to_files_and_headings(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text()):
        name, _, anchor = target.partition("#")
        linked = (document.parent / name) if name else document
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def anchors(document: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
