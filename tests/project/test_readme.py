"""README.md: its commands work when pasted, and its tables are those of the code."""

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import jwt
import pytest
import requests
from flask import Flask

import config
from auth.errors import REGISTRY
from auth.tokens import access
from config import Settings
from tests.support import ROOT, SECRET_KEY, service
from tests.support.database import MakeDatabase, run_sql

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


def in_a_copy(folder: Path) -> Path:
    """Return a copy of the code with the virtual environment that README's commands make."""
    code = service.copy_code(folder / "code")
    (code / ".venv").symlink_to(sys.prefix)
    return code


def filled_in(command: str, url: str) -> str:
    """Return a command with the values that README leaves to its reader."""
    assert "DB_URL=... SECRET_KEY=... " in command
    return command.replace(
        "DB_URL=... SECRET_KEY=... ", f"DB_URL={shlex.quote(url)} SECRET_KEY={SECRET_KEY} "
    )


def test_readme_makes_a_database_that_the_service_can_use(postgres_url: str, tmp_path: Path) -> None:
    (commands,) = blocks("sh", containing="CREATE ROLE")
    *creating, serving = commands.splitlines()
    name = f"user_service_test_{secrets.token_hex(6)}"
    parts = urlsplit(postgres_url)
    host = parts.netloc.rpartition("@")[2]
    # The role and the database as they are printed, under another name and on the server of the tests.
    (printed,) = re.findall(r"^DB_URL=(\S+) make run$", serving)
    url = printed.replace("user_service", name).replace("localhost:5432", host)
    url = urlunsplit(urlsplit(url)._replace(query=parts.query))

    try:
        for command in creating:
            (statement,) = re.findall(r'^sudo -u postgres psql -c "(.+)"$', command)
            run_sql(postgres_url, statement.replace("user_service", name))
        done = subprocess.run(
            ["sh", "-c", filled_in("DB_URL=... SECRET_KEY=... .venv/bin/flask --app app init-db", url)],
            cwd=in_a_copy(tmp_path),
            env=service.ENVIRON,
            capture_output=True,
            text=True,
        )
    finally:
        run_sql(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        run_sql(postgres_url, f"DROP ROLE IF EXISTS {name}")

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("The database has everything that schema.sql describes.\n")


def test_readme_commands_for_production_serve(make_database: MakeDatabase, tmp_path: Path) -> None:
    (commands,) = blocks("sh", containing=".venv/bin/gunicorn")
    *installing, serving = commands.splitlines()
    port = service.free_port()

    started = subprocess.Popen(
        ["sh", "-c", f"exec env {filled_in(serving, make_database())}"],
        cwd=in_a_copy(tmp_path),
        env=service.ENVIRON | {"PORT": str(port), "GUNICORN_WORKERS": "1"},
        stdout=subprocess.DEVNULL,
    )
    with started:
        try:
            health = answer_of(f"http://127.0.0.1:{port}/health")
        finally:
            started.terminate()

    assert installing == ["python3 -m venv .venv", ".venv/bin/pip install -r requirements.txt"]
    assert health == 200
    assert started.returncode == 0


def answer_of(url: str) -> int:
    """Return the status of `url` once something listens there."""
    deadline = time.monotonic() + service.START_SECONDS
    while True:
        try:
            return requests.get(url, timeout=5).status_code
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("command", re.findall(r"\.venv/bin/flask --app app [a-z-]+", README))
def test_readme_flask_commands_work(command: str, make_database: MakeDatabase, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", filled_in(f"DB_URL=... SECRET_KEY=... {command}", make_database())],
        cwd=in_a_copy(tmp_path),
        env=service.ENVIRON,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "code",
    re.findall(r"`python3 -c '([^']+)'`", README)
    + re.findall(r"python3 -c '([^']+)'", (ROOT / ".env.example").read_text()),
)
def test_python_lines_of_the_readme_work(code: str) -> None:
    code = code.replace("\n", " ").replace("getpass()", "input()")

    done = subprocess.run([sys.executable, "-c", code], input="p@ss/word", capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[\w%-]+\n", done.stdout)


def test_readme_installs_what_its_typescript_needs() -> None:
    (commands,) = blocks("sh", containing="npx")
    needed = json.loads((ROOT / "tests/client/package.json").read_text())["devDependencies"]
    installed = re.findall(r"^npm install (?:--save-dev )?(.+)$", commands, re.MULTILINE)

    assert set(" ".join(installed).split()) == set(needed) - {"@types/node"}


@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
def test_readme_session_for_a_frontend_works(make_database: MakeDatabase, tmp_path: Path) -> None:
    (module,) = blocks("js", containing="localStorage")
    address = "http://localhost:8080/"
    assert module.count(address) == 1
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"}

    with service.running(tmp_path / "log", **environ) as running:
        (tmp_path / "session.mjs").write_text(module.replace(address, f"{running.url}/"))
        shutil.copy(ROOT / "tests/client/frontend.mjs", tmp_path)
        done = subprocess.run(
            ["node", "frontend.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    missing = {"status": 401, "code": "token_missing", "fields": {}, "message": "A bearer token is required."}
    assert told["anonymous"] == told["out"] == missing
    assert (told["bad"]["code"], set(told["bad"]["fields"])) == ("validation_failed", {"email", "password"})
    assert told["registered"] == told["me"]
    assert (told["changed"]["first_name"], told["again"]["username"]) == ("Ada", "ada")
    assert [user["first_name"] for user in told["refreshed"]] == ["Ada", "Ada"]
    assert told["sessions"] == 1
    assert told["authorizations"] == [None, "Bearer"]
    assert told["undefined"] == 0


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
    return access.issue(
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
