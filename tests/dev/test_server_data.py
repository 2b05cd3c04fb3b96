"""What `python app.py` keeps from one run to the next: the PostgreSQL and the key."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from dev import StartError
from dev import postgres as embedded_postgres
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import Actor
from tests.support.development import ENVIRON, assert_refused, is_running, run_python, serving, wait_until
from tests.support.service import free_port

pytestmark = pytest.mark.slow

NOBODY = {"username": "nobody", "password": PASSWORD}


def test_second_run_finds_the_users_and_honours_their_tokens(tree: Path) -> None:
    with serving(tree, BCRYPT_ROUNDS="4") as first:
        ada = Actor(first.client).register()
        first.stop(signal.SIGINT)

    with serving(tree) as second:
        me = Actor(second.client).me(ada.pair["token"])

    assert me.status_code == 200
    assert me.get_json()["username"] == "ada"


def test_kept_secrets_are_for_the_owner_only(tree: Path) -> None:
    with serving(tree):
        assert (tree / ".data/secret_key").stat().st_mode & 0o077 == 0
        assert (tree / ".data/postgres").stat().st_mode & 0o077 == 0


ORPHAN = """
import sys, time
from pathlib import Path
from dev import postgres, privileges
prefix = privileges.prefix
privileges.prefix = lambda: [word for word in prefix() if word not in ("--pdeathsig", "INT")]
with postgres.running(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def orphan(used_tree: Path) -> Iterator[int]:
    """The pid of a PostgreSQL that was left running when the process that started it was killed."""
    command = [sys.executable, "-c", ORPHAN, str(used_tree / ".data/postgres")]
    with subprocess.Popen(command, cwd=used_tree, env=ENVIRON, stdout=subprocess.PIPE) as starter:
        assert starter.stdout
        pid = int(starter.stdout.readline())
        starter.kill()
    yield pid
    if is_running(pid):
        os.kill(pid, signal.SIGKILL)


def test_postgresql_that_a_kill_left_behind_is_taken_over(used_tree: Path, orphan: int) -> None:
    assert is_running(orphan)
    (sockets,) = re.findall(r'Unix socket "(.+)/', (used_tree / ".data/postgres.log").read_text())

    with serving(used_tree, BCRYPT_ROUNDS="4") as started:
        Actor(started.client).register()

        assert started.postgres() != orphan
        assert wait_until(lambda: not is_running(orphan))
        assert not Path(sockets).exists()


def test_copy_of_a_running_checkout_leaves_the_original_alone(
    used_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "STOP_SECONDS", 0.2)
    with serving(used_tree) as original:
        copy = Path(shutil.copytree(used_tree / ".data", tmp_path / "copy"))
        with suppress(StartError), embedded_postgres.running(copy / "postgres"):
            pass

        assert original.sockets().exists()
        assert requests.post(f"{original.url}/api/auth/login", json=NOBODY, timeout=10).status_code == 401


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


def test_folder_that_cannot_be_made_is_a_sentence(tree: Path) -> None:
    (tree / ".data").write_text("")

    done = run_python(tree, "app.py", PORT=str(free_port()), SECRET_KEY=SECRET_KEY)

    assert_refused(done, f"{tree / '.data'} cannot be used")


def test_key_that_a_full_disk_left_empty_is_made_again(tree: Path) -> None:
    (tree / ".data").mkdir()
    (tree / ".data/secret_key").touch()

    with serving(tree):
        assert len((tree / ".data/secret_key").read_text()) >= 32


def test_key_that_is_damaged_is_a_sentence(tree: Path) -> None:
    (tree / ".data").mkdir()
    (tree / ".data/secret_key").write_bytes(b"\xff\xfe")

    assert_refused(
        run_python(tree, "app.py", PORT=str(free_port())), f"{tree / '.data/secret_key'} is damaged"
    )


def test_second_instance_on_the_same_data_is_a_sentence_and_spares_the_first(used_tree: Path) -> None:
    with serving(used_tree) as first:
        done = run_python(used_tree, "app.py", PORT=str(free_port()))

        assert_refused(done, "PostgreSQL")
        assert requests.get(f"{first.url}/health", timeout=10).status_code == 200
