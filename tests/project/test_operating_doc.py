"""docs/operating.md: its commands work when pasted, and its log events are those of the code."""

import ast
import re
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests

from auth.errors import REGISTRY
from auth.mail import messages
from auth.throttling import keys
from config import LIMITS, Settings
from db import Database
from runtime.declarations import declarations
from tests.support import ROOT, SECRET_KEY, mail_server, service
from tests.support.database import MakeDatabase, run_sql
from tests.support.documents import OPERATING, blocks, rows

EVENT = re.compile(r"[a-z]+(?:_[a-z]+)+(?=[ :]|$)")
LOG_CALLS = ("debug", "info", "warning", "error", "exception", "critical")
CODE = [*ROOT.glob("*.py")]
CODE += [path for folder in ("auth", "ops", "runtime") for path in (ROOT / folder).rglob("*.py")]


def in_a_copy(folder: Path) -> Path:
    """Return a copy of the code with the virtual environment that the printed commands make."""
    code = service.copy_code(folder / "code")
    (code / ".venv").symlink_to(sys.prefix)
    return code


def filled_in(command: str, url: str) -> str:
    """Return a command with the values that the document leaves to its reader."""
    assert "DB_URL=... SECRET_KEY=... " in command
    return command.replace(
        "DB_URL=... SECRET_KEY=... ", f"DB_URL={shlex.quote(url)} SECRET_KEY={SECRET_KEY} "
    )


def test_printed_role_and_database_can_be_used_by_the_service(postgres_url: str, tmp_path: Path) -> None:
    (commands,) = blocks(OPERATING, "sh", containing="CREATE ROLE")
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


def test_printed_commands_for_production_serve(make_database: MakeDatabase, tmp_path: Path) -> None:
    (commands,) = blocks(OPERATING, "sh", containing=".venv/bin/gunicorn")
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
            health = status_of(f"http://127.0.0.1:{port}/health")
        finally:
            started.terminate()

    assert installing == ["python3 -m venv .venv", ".venv/bin/pip install -r requirements.txt"]
    assert health == 200
    assert started.returncode == 0


def status_of(url: str) -> int:
    """Return the status of `url` once something listens there."""
    deadline = time.monotonic() + service.START_SECONDS
    while True:
        try:
            return requests.get(url, timeout=5).status_code
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def add_ada(url: str) -> None:
    Database(url).apply_schema()
    run_sql(url, "INSERT INTO users (username, email, password) VALUES ('ada', 'ada@example.com', '-')")


@pytest.mark.parametrize("command", re.findall(r"\.venv/bin/flask --app app ([a-z0-9@. -]+)", OPERATING))
def test_printed_flask_commands_work(command: str, make_database: MakeDatabase, tmp_path: Path) -> None:
    url = make_database()
    if command.endswith(" ada"):
        add_ada(url)

    with mail_server.running() as server:
        done = subprocess.run(
            ["sh", "-c", filled_in(f"DB_URL=... SECRET_KEY=... .venv/bin/flask --app app {command}", url)],
            cwd=in_a_copy(tmp_path),
            env=service.ENVIRON
            | {"SMTP_URL": server.url, "MAIL_FROM": "us@example.com", "FRONTEND_URL": "https://example.com"},
            capture_output=True,
            text=True,
        )

    assert (done.returncode, done.stderr) == (0, "")


def test_printed_statement_shows_the_budgets_of_an_account_and_an_address(
    make_database: MakeDatabase,
) -> None:
    (statement,) = blocks(OPERATING, "sql", containing="auth_throttle")
    url = make_database()
    Database(url).apply_schema()
    run_sql(
        url,
        "INSERT INTO auth_throttle (key, full_at, failures, locked)"
        " SELECT key, now() + interval '1 hour', 100, TRUE FROM unnest(%s) AS key",
        [
            keys.address("192.0.2.7"),
            *(keys.strangers(keys.account(user_id)) for user_id in (7, 71)),
            *(f"{keys.second_factor(user_id)}5/5m" for user_id in (7, 71)),
        ],
    )

    budgets = run_sql(url, statement)

    names = [key for key, *_ in budgets]
    assert names == ["account 7 strangers", "address 192.0.2.7", "second factor 7 5/5m"]
    assert {budget[2:] for budget in budgets} == {(100, True)}
    assert all(3500 < full_in_seconds <= 3600 for _, full_in_seconds, *_ in budgets)


def test_printed_statement_counts_the_users_who_are_not_verified(make_database: MakeDatabase) -> None:
    (statement,) = blocks(OPERATING, "sql", containing="not_verified")
    url = make_database()
    Database(url).apply_schema()
    run_sql(
        url,
        "INSERT INTO users (username, email, password)"
        " SELECT name, name || '@example.com', '-' FROM unnest('{ada,bob,eve,grace}'::TEXT[]) AS name",
    )
    run_sql(
        url,
        "INSERT INTO auth_emails (user_id, verified, pending)"
        " VALUES (1, 'ada@example.com', NULL), (2, 'former@example.com', NULL), (3, NULL, 'new@example.com')",
    )

    assert run_sql(url, statement) == [(3, 4)]


def test_printed_statement_lists_the_second_factors_of_before_a_change_of_the_key(
    make_database: MakeDatabase,
) -> None:
    (statement,) = blocks(OPERATING, "sql", containing="auth_second_factors")
    url = make_database()
    Database(url).apply_schema()
    run_sql(
        url,
        "INSERT INTO users (username, email, password)"
        " SELECT name, name || '@example.com', '-' FROM unnest('{ada,bob,eve,grace}'::TEXT[]) AS name",
    )
    run_sql(
        url,
        "INSERT INTO auth_second_factors (user_id, secret, recovery_hashes, setup_expires_at, enabled_at)"
        " VALUES (1, '', '{}', now(), '2026-01-02 03:04:04+00'),"
        " (2, '', '{}', now(), '2026-01-02 03:04:05+00'), (3, '', '{}', now(), NULL)",
    )

    assert run_sql(url, statement) == [(1, "ada", "ada@example.com")]


def test_table_of_notices_has_every_notice() -> None:
    notices = {name.strip("`") for name, _ in rows(OPERATING, "notice", "when")}

    assert notices == set(messages.KINDS) - {"verify_email", "reset_password", "test"}


def test_printed_rights_are_those_on_every_table() -> None:
    (tables,) = re.findall(r"`GRANT SELECT,\s+INSERT,\s+UPDATE,\s+DELETE\s+ON\s+([^`]+?)\s+TO", OPERATING)
    made = re.findall(r"^CREATE\s.*TABLE IF NOT EXISTS (auth_\w+)", (ROOT / "schema.sql").read_text(), re.M)

    # Those of an earlier version, and what everybody may read.
    assert {*tables.replace(",", " ").split(), "auth_sessions", "auth_schema"} == set(made)


@pytest.mark.parametrize(
    "code",
    sorted(
        set(re.findall(r"`python3 -c '([^']+)'`", OPERATING))
        | set(re.findall(r"python3 -c '([^']+)'", (ROOT / ".env.example").read_text()))
    ),
)
def test_printed_python_lines_work(code: str) -> None:
    code = code.replace("\n", " ").replace("getpass()", "input()")

    done = subprocess.run([sys.executable, "-c", code], input="p@ss/word", capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[\w%-]+\n", done.stdout)


def events_of(module: Path) -> Iterator[str]:
    """Yield the events that a module logs: the first word of a message, if it has an underscore."""
    for node in ast.walk(ast.parse(module.read_text())):
        if not isinstance(node, ast.Call):
            continue
        logged = node.args[:1] if getattr(node.func, "attr", "") in LOG_CALLS else []
        logged += [word.value for word in node.keywords if word.arg == "log_message"]
        for text in logged:
            start = text.values[0] if isinstance(text, ast.JoinedStr) else text
            if isinstance(start, ast.Constant) and (event := EVENT.match(str(start.value))):
                yield event[0]


def test_table_of_limits_has_every_limit() -> None:
    columns = ("setting", "what it counts", "separate budgets for", "code", "what it protects against")
    described = {setting.strip("`") for setting, *_ in rows(OPERATING, *columns)}
    codes = {code for _, _, _, cell, _ in rows(OPERATING, *columns) for code in re.findall(r"`(\w+)`", cell)}

    declared = {
        each.variable
        for each in declarations(Settings)
        if each.group == LIMITS or each.variable.startswith("LIMIT_")
    }
    assert described == declared - {"RATE_LIMITS"}
    assert codes == {code for code, failure in REGISTRY.items() if failure.status == 429}


def test_table_of_events_is_that_of_the_code() -> None:
    described = {
        name
        for events, _, _ in rows(OPERATING, "event", "level", "when")
        for name in re.findall(r"`(\w+)", events)
    }
    source = "\n".join(path.read_text() for path in CODE)

    assert {event for path in CODE for event in events_of(path)} <= described
    assert [event for event in described if event not in source] == []
