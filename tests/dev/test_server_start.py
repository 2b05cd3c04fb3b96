"""How `python app.py` starts, or why it does not: each run as a developer runs it."""

import errno
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import jwt
import pytest
import requests

from dev import StartError, postgres, server
from tests.support import ROOT, SECRET_KEY
from tests.support.actor import Actor
from tests.support.database import MakeDatabase, run_sql
from tests.support.development import (
    ENVIRON,
    NO_DATABASE,
    WAIT_SECONDS,
    assert_refused,
    run_python,
    serving,
    wait_until,
)
from tests.support.expired_sessions import ADD, COUNT
from tests.support.registrations import ADA

pytestmark = pytest.mark.slow

needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


@pytest.mark.parametrize("debug", ["0", "1"], ids=["plain", "with the reloader"])
def test_expired_sessions_are_removed_without_any_request(used_tree: Path, debug: str) -> None:
    with serving(used_tree, BCRYPT_ROUNDS="4") as started:
        assert requests.post(f"{started.url}/api/auth/register", json=ADA, timeout=10).status_code == 201
        url = postgres.find_running(used_tree / ".data" / "postgres")
        assert url
        run_sql(url, ADD, 3)
    module = used_tree / "auth" / "housekeeping.py"
    text = module.read_text()
    assert "FIRST_SECONDS = 60.0" in text
    module.write_text(text.replace("FIRST_SECONDS = 60.0", "FIRST_SECONDS = 0.2"))

    with serving(used_tree, BCRYPT_ROUNDS="4", FLASK_DEBUG=debug):
        url = postgres.find_running(used_tree / ".data" / "postgres")
        assert url
        assert wait_until(lambda: run_sql(url, COUNT) == [(0,)])


@needs_curl
def test_first_run_prints_its_address_and_a_curl_line_that_works(tree: Path) -> None:
    with serving(tree, BCRYPT_ROUNDS="4") as started:
        assert wait_until(lambda: "Try:" in started.output())
        assert f"listens on {started.url} " in started.output()
        assert f"{started.url}/docs" in started.output()
        assert requests.get(started.url, timeout=10).url == f"{started.url}/docs"
        (line,) = re.findall(r"^ *(curl .+)$", started.output(), re.MULTILINE)

        pasted = subprocess.run(["bash", "-c", line], env=ENVIRON, capture_output=True, timeout=WAIT_SECONDS)

    assert json.loads(pasted.stdout)["message"] == "User registered successfully"


def test_given_database_and_key_are_used_and_no_postgresql_is_started(
    tree: Path, make_database: MakeDatabase
) -> None:
    url = make_database()

    with serving(tree, DB_URL=url, SECRET_KEY=SECRET_KEY, BCRYPT_ROUNDS="4") as started:
        token = Actor(started.client).register().pair["token"]

    claims = jwt.decode(token, SECRET_KEY, algorithms=["HS256"])
    assert run_sql(url, "SELECT id, username FROM users") == [(claims["id"], "ada")]
    assert [path.name for path in (tree / ".data").iterdir()] == ["mails"]


def test_given_database_that_is_down_does_not_stop_the_start(tree: Path) -> None:
    with serving(tree, DB_URL=NO_DATABASE, SECRET_KEY=SECRET_KEY) as started:
        health = requests.get(f"{started.url}/health", timeout=10)

        assert wait_until(lambda: "listens on" in started.output())

    assert health.status_code == 503
    assert "But PostgreSQL at 127.0.0.1, port 1, does not serve: cannot connect" in started.output()
    assert "Try" not in started.output()
    assert "pw-in-url" not in started.output()
    assert "Traceback" not in started.output()


def test_env_example_as_it_is_serves_and_a_slip_in_it_is_told(used_tree: Path) -> None:
    text = (ROOT / ".env.example").read_text() + "JWT_EXPIRE_SECONDS=5\n"
    (used_tree / ".env").write_text(text)

    with serving(used_tree) as started:
        health = requests.get(f"{started.url}/health", timeout=10)

    assert health.status_code == 200
    assert "ignored_setting: JWT_EXPIRE_SECONDS in .env is no variable" in started.output()


def test_port_of_root_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> socket.socket:  # as for anybody but root
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)

    with pytest.raises(StartError, match="Port 80 cannot be used: those below 1024 are for root"):
        server._require_free_port(80)


def test_port_in_use_is_a_sentence(tree: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])

        done = run_python(tree, "app.py", PORT=port)

    assert_refused(done, f"Port {port}", "Address already in use")
    assert not (tree / ".data").exists()


def test_bad_database_url_is_a_sentence(tree: Path) -> None:
    done = run_python(tree, "app.py", DB_URL="mysql://root:pw-in-url@localhost/users")

    assert_refused(done, "DB_URL must be a PostgreSQL URL")
    assert "pw-in-url" not in done.stderr


BAD = {
    "DB_URL": "postgres:/pw-in-url",
    "PORT": "http-port",
    "FLASK_DEBUG": "perhaps",
    "CORS_ORIGINS": "everywhere",
    "JWT_EXPIRES_SECONDS": "an-hour",
    "BCRYPT_ROUNDS": "many",
}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["app.py"], id="python app.py"),
        pytest.param(["-m", "gunicorn"], id="gunicorn"),
        pytest.param(["-m", "flask", "--app", "app", "init-db"], id="flask init-db"),
    ],
)
def test_bad_variables_are_all_named_and_none_is_shown(tree: Path, command: list[str]) -> None:
    # The flask command has its own words for a bad FLASK_DEBUG, before it looks at the service.
    bad = BAD if "flask" not in command else {name: BAD[name] for name in BAD if name != "FLASK_DEBUG"}

    done = run_python(tree, *command, SECRET_KEY=SECRET_KEY, **bad)

    assert_refused(done, *bad)
    assert not [value for value in BAD.values() if value in done.stdout + done.stderr]
    assert not (tree / ".data").exists()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["-m", "gunicorn"], id="gunicorn"),
        pytest.param(["-m", "flask", "--app", "app", "init-db"], id="flask init-db"),
    ],
)
def test_missing_variables_are_all_named(tree: Path, command: list[str]) -> None:
    done = run_python(tree, *command)

    assert_refused(done, "DB_URL is required", "SECRET_KEY is required")


def test_debugger_shows_an_error_to_the_developer(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()

    with serving(tree, DB_URL=url, SECRET_KEY=SECRET_KEY, FLASK_DEBUG="1") as started:
        requests.post(f"{started.url}/api/auth/register", json=ADA, timeout=10)
        run_sql(url, "UPDATE users SET created_at = '20000-01-01'")  # no date of Python's
        answer = requests.post(f"{started.url}/api/auth/login", json=ADA, timeout=10)

    assert answer.status_code == 500
    assert "Werkzeug Debugger" in answer.text
