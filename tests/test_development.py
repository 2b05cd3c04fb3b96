"""`python app.py`, `flask init-db` and a refused start, each run as a user runs it, in a copy of the code."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
import requests

from conftest import PASSWORD, SECRET_KEY, MakeDatabase, run_sql
from service import copy_code, free_port

WAIT_SECONDS = 40.0
NO_DATABASE = "postgresql://nobody:pw-in-url@127.0.0.1:1/none"
# What is under test is the code in the copy: nothing of this process's environment, no .env.
ENVIRON = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl(PR_SET_PDEATHSIG) is Linux's")
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


@dataclass(frozen=True)
class Development:
    """A running `python app.py`. output: what it printed, also on stderr."""

    process: "subprocess.Popen[bytes]"
    tree: Path
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def output(self) -> str:
        return self.log.read_text()

    def postgres(self) -> int:
        """Return the pid of the PostgreSQL that it started."""
        return int((self.tree / ".data/postgres/postmaster.pid").read_text().split()[0])

    def sockets(self) -> Path:
        """Return the folder of that PostgreSQL's socket."""
        (path,) = re.findall(r'Unix socket "(.+)/', (self.tree / ".data/postgres.log").read_text())
        return Path(path)

    def stop(self, number: int) -> int:
        """Send it a signal and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_SECONDS)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy_code(tmp_path / "code")


@contextmanager
def launched(tree: Path, *prefix: str, **environ: str) -> Iterator[Development]:
    """Start `python app.py`, with `prefix` before it, in a process group of its own; stop it in the end."""
    port = free_port()
    log = tree.parent / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*prefix, sys.executable, "app.py"],
            cwd=tree,
            env=ENVIRON | {"PORT": str(port)} | environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Development(process, tree, port, log)
    finally:
        process.terminate()
        try:
            process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def serving(tree: Path, *prefix: str, **environ: str) -> Iterator[Development]:
    """Start `python app.py` and wait until it answers."""
    with launched(tree, *prefix, **environ) as started:
        assert wait_until(lambda: started.process.poll() is not None or is_alive(started))
        assert started.process.poll() is None, started.output()
        yield started


def wait_until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_alive(started: Development) -> bool:
    try:
        return requests.get(f"{started.url}/health/live", timeout=1).ok
    except requests.RequestException:
        return False


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def register(started: Development) -> str:
    """Register ada and return her token."""
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    answer = requests.post(f"{started.url}/api/auth/register", json=body, timeout=10)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


def run_python(tree: Path, *command: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python command to its end."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=ENVIRON | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )


def assert_refused(done: "subprocess.CompletedProcess[str]", *sentence: str) -> None:
    """Assert one sentence on stderr, which holds every piece of `sentence`, and exit status 1."""
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert all(piece in done.stderr for piece in sentence), done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@needs_curl
def test_first_run_prints_its_address_and_a_curl_line_that_works(tree: Path) -> None:
    with serving(tree, BCRYPT_ROUNDS="4") as started:
        assert wait_until(lambda: "Try:" in started.output())
        assert f"listens on {started.url} " in started.output()
        (line,) = re.findall(r"^ *(curl .+)$", started.output(), re.MULTILINE)

        pasted = subprocess.run(["bash", "-c", line], env=ENVIRON, capture_output=True, timeout=WAIT_SECONDS)

    assert json.loads(pasted.stdout)["message"] == "User registered successfully"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_stop_ends_everything(tree: Path, number: int) -> None:
    with serving(tree) as started:
        postgres = started.postgres()
        sockets = started.sockets()

        status = started.stop(number)

        assert status == 0
        assert not is_running(postgres)
        assert not sockets.exists()
        assert not is_open(started.port)
        assert "Traceback" not in started.output()


def test_stop_ends_the_reloader_and_its_child(tree: Path) -> None:
    with serving(tree, FLASK_DEBUG="1") as started:
        postgres = started.postgres()

        os.killpg(started.process.pid, signal.SIGINT)  # as a terminal does

        assert started.process.wait(WAIT_SECONDS) == 0
        assert wait_until(lambda: not is_running(postgres))
        assert wait_until(lambda: not is_open(started.port))
        assert "Traceback" not in started.output()


def test_stop_while_postgresql_is_being_set_up_ends_without_a_traceback(tree: Path) -> None:
    with launched(tree) as started:
        assert wait_until((tree / ".data/postgres.new").exists)

        started.stop(signal.SIGINT)

        assert "Traceback" not in started.output()
    with serving(tree) as again:
        assert requests.get(f"{again.url}/health", timeout=10).status_code == 200


def test_second_run_finds_the_users_and_honours_their_tokens(tree: Path) -> None:
    with serving(tree, BCRYPT_ROUNDS="4") as first:
        token = register(first)
        first.stop(signal.SIGINT)

    with serving(tree) as second:
        headers = {"Authorization": f"Bearer {token}"}
        me = requests.get(f"{second.url}/api/auth/me", headers=headers, timeout=10)

    assert me.status_code == 200
    assert me.json()["username"] == "ada"


@needs_linux
def test_kill_leaves_no_postgresql_behind(tree: Path) -> None:
    with serving(tree) as started:
        postgres = started.postgres()
        sockets = started.sockets()

        started.stop(signal.SIGKILL)

        assert wait_until(lambda: not is_running(postgres))
        shutil.rmtree(sockets)


def test_kept_secrets_are_for_the_owner_only(tree: Path) -> None:
    with serving(tree):
        assert (tree / ".data/secret_key").stat().st_mode & 0o077 == 0
        assert (tree / ".data/postgres").stat().st_mode & 0o077 == 0


def test_given_database_and_key_are_used_and_no_postgresql_is_started(
    tree: Path, make_database: MakeDatabase
) -> None:
    url = make_database()

    with serving(tree, DB_URL=url, SECRET_KEY=SECRET_KEY, BCRYPT_ROUNDS="4") as started:
        token = register(started)

    claims = jwt.decode(token, SECRET_KEY, algorithms=["HS256"])
    assert run_sql(url, "SELECT id, username FROM users") == [(claims["id"], "ada")]
    assert not (tree / ".data").exists()


def test_given_database_that_is_down_does_not_stop_the_start(tree: Path) -> None:
    with serving(tree, DB_URL=NO_DATABASE, SECRET_KEY=SECRET_KEY) as started:
        health = requests.get(f"{started.url}/health", timeout=10)

    assert health.status_code == 503
    assert "pw-in-url" not in started.output()
    assert "Traceback" not in started.output()


@pytest.fixture
def open_tree() -> Iterator[Path]:
    """A copy of the code in a folder that an ordinary user owns and can reach."""
    owner = pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(prefix="user-service-"))
    tree = copy_code(folder / "code")
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, owner.pw_uid, owner.pw_gid)
    yield tree
    shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="the other tests run as an ordinary user already")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_ordinary_user_can_run_it(open_tree: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    drop = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    if subprocess.run([*drop, sys.executable, "-c", "import flask"], capture_output=True).returncode != 0:
        pytest.skip("an ordinary user cannot run this Python")

    with serving(open_tree, *drop, HOME=str(open_tree), BCRYPT_ROUNDS="4") as started:
        register(started)
        postgres = started.postgres()
        status = started.stop(signal.SIGINT)

    assert status == 0
    assert not is_running(postgres)
    assert (open_tree / ".data/secret_key").stat().st_uid == nobody.pw_uid


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


def test_second_instance_on_the_same_data_is_a_sentence_and_spares_the_first(tree: Path) -> None:
    with serving(tree) as first:
        done = run_python(tree, "app.py", PORT=str(free_port()))

        assert_refused(done, "PostgreSQL")
        assert requests.get(f"{first.url}/health", timeout=10).status_code == 200


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


def init_db(tree: Path, url: str) -> "subprocess.CompletedProcess[str]":
    return run_python(tree, "-m", "flask", "--app", "app", "init-db", DB_URL=url, SECRET_KEY=SECRET_KEY)


def test_init_db_makes_the_tables_and_may_run_again(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()

    first = init_db(tree, url)
    run_sql(url, "INSERT INTO users (username, email, password) VALUES ('ada', 'ada@example.com', '')")
    second = init_db(tree, url)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert run_sql(url, "SELECT username FROM users") == [("ada",)]


def test_init_db_mends_a_missing_index(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()
    init_db(tree, url)
    run_sql(url, "DROP INDEX users_email_lower_key")

    done = init_db(tree, url)

    assert done.returncode == 0
    assert run_sql(url, "SELECT to_regclass('users_email_lower_key') IS NOT NULL") == [(True,)]


def test_init_db_without_a_database_is_a_sentence(tree: Path) -> None:
    done = init_db(tree, NO_DATABASE)

    assert_refused(done, "cannot connect")
    assert "pw-in-url" not in done.stdout + done.stderr


def test_init_db_names_the_rows_that_differ_only_in_case(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()
    run_sql(url, "CREATE TABLE users (id SERIAL PRIMARY KEY, username TEXT, email TEXT, password TEXT)")
    run_sql(url, "INSERT INTO users (username, email) VALUES ('ada', 'a@x.org'), ('Ada', 'b@x.org')")

    done = init_db(tree, url)

    assert_refused(done, "differ only in case", "the usernames of users 1, 2")


def test_debugger_shows_an_error_to_the_developer(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}

    with serving(tree, DB_URL=url, SECRET_KEY=SECRET_KEY, FLASK_DEBUG="1") as started:
        requests.post(f"{started.url}/api/auth/register", json=body, timeout=10)
        run_sql(url, "UPDATE users SET created_at = '20000-01-01'")  # no date of Python's
        answer = requests.post(f"{started.url}/api/auth/login", json=body, timeout=10)

    assert answer.status_code == 500
    assert "Werkzeug Debugger" in answer.text
