"""README.md: its commands work when pasted, and its tables are those of the code."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask

import config
import service
from auth import tokens
from auth.errors import REGISTRY
from config import Settings
from conftest import SECRET_KEY, MakeDatabase
from service import ROOT

README = (ROOT / "README.md").read_text()
DEFAULTS = Settings.from_env({"DB_URL": "postgresql://", "SECRET_KEY": SECRET_KEY})
FIELDS = {"FLASK_DEBUG": "debug"}
VERIFIER_LINES = 5


def blocks(language: str, containing: str) -> list[str]:
    """Return the code blocks in `language` that contain a text."""
    found = re.findall(rf"^```{language}\n(.+?)^```", README, re.MULTILINE | re.DOTALL)
    return [block for block in found if containing in block]


def rows(*columns: str) -> list[list[str]]:
    """Return the rows of the table with these column heads."""
    head = re.escape(f"| {' | '.join(columns)} |\n|") + r"[-|]+\n((?:\|.+\n)+)"
    (table,) = re.findall(head, README)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_readme_curl_lines_work_when_pasted(make_database: MakeDatabase, tmp_path: Path) -> None:
    (commands,) = blocks("sh", containing="curl ")
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
        "200 /health",
    ]


def at(url: str, commands: str) -> str:
    """Return README's commands with the address of a service under test."""
    printed = f"http://127.0.0.1:{DEFAULTS.port}/"
    assert commands.count(printed) == commands.count("curl ")
    return commands.replace(printed, f"{url}/")


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Any:
    """README's function for sibling services."""
    (snippet,) = blocks("python", containing="jwt.decode")
    assert len(snippet.splitlines()) <= VERIFIER_LINES
    monkeypatch.setenv("SECRET_KEY", SECRET_KEY)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102
    return names["verify"]


def issue(*, key: str = SECRET_KEY, age_seconds: float = 0) -> str:
    """Return a token of this service for ada, user 7."""
    issued_at = time.time() - age_seconds
    return tokens.issue(
        7, "ada@example.com", session_id=3, key=key, now=issued_at, ttl_seconds=3600, token_id="1"
    )


def test_readme_verifier_accepts_a_token_of_this_service(verify: Any) -> None:
    assert verify(issue()) == (7, "ada@example.com")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(issue(key="another-key-that-is-longer-than-32-bytes"), id="another key"),
        pytest.param(issue(age_seconds=3700), id="expired"),
        pytest.param(jwt.encode({"id": 7}, SECRET_KEY), id="without an end"),
        pytest.param(jwt.encode({"id": 7, "exp": 2**32}, "", algorithm="none"), id="unsigned"),
    ],
)
def test_readme_verifier_refuses_other_tokens(verify: Any, token: str) -> None:
    with pytest.raises(jwt.PyJWTError):
        verify(token)


def test_readme_names_every_endpoint(session_app: Flask) -> None:
    served = {
        f"`{method} {re.sub('<.*>', '{id}', rule.rule)}`"
        for rule in session_app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {row[0] for row in rows("call", "body", "success")} == served


def test_readme_names_every_error_code_with_its_status() -> None:
    described = {code.strip("`"): int(status) for code, status, _ in rows("code", "status", "when")}

    assert described == {code: failure.status for code, failure in REGISTRY.items()}


def test_readme_names_every_variable() -> None:
    described = [row[0].strip("`") for row in rows("variable", "default", "meaning")]

    assert described == list(config._PARSERS)


def test_readme_gives_the_defaults_of_the_code() -> None:
    given = {name.strip("`"): default for name, default, _ in rows("variable", "default", "meaning")}
    literal = {name: default.strip("`") for name, default in given.items() if default.startswith("`")}

    for name, default in literal.items():
        assert config._PARSERS[name](default) == getattr(DEFAULTS, FIELDS.get(name, name.lower())), name
    computed = {"DB_URL", "SECRET_KEY", "GUNICORN_WORKERS", "GUNICORN_THREADS", "HASH_SLOTS"}
    assert set(literal) == set(config._PARSERS) - computed


def test_readme_layout_has_one_line_for_every_file() -> None:
    (layout,) = re.findall(r"^## Layout\n\n```\n(.+?)^```", README, re.MULTILINE | re.DOTALL)
    described = [line.split()[0] for line in layout.splitlines()]
    modules = [*ROOT.glob("*.py"), *ROOT.glob("auth/*.py"), *ROOT.glob("auth/routes/[!_]*.py")]

    assert all((ROOT / path).exists() for path in described)
    assert {path.relative_to(ROOT).as_posix() for path in modules} <= set(described)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.M))))
def test_readme_names_targets_that_the_makefile_has(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
