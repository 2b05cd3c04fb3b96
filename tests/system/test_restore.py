"""What docs/operating.md says of backup and restore, with the commands that it prints."""

import os
import subprocess
from pathlib import Path

import pytest

from app import create_app
from config import Settings
from dev import postgres_binaries
from tests.support import SECRET_KEY
from tests.support.actor import Actor
from tests.support.database import MakeDatabase
from tests.support.documents import OPERATING, blocks

BINARIES = postgres_binaries.find_all()[0]


def run_printed(command: str, url: str, folder: Path) -> None:
    (block,) = blocks(OPERATING, "sh", containing=f"{command} ")
    environ = {"PATH": f"{BINARIES}:{os.environ['PATH']}", "DB_URL": url}
    subprocess.run(["sh", "-e", "-c", block], cwd=folder, env=environ, check=True)


@pytest.mark.skipif(not (BINARIES / "pg_dump").exists(), reason="pg_dump of this PostgreSQL is not installed")
def test_sessions_after_a_restore_are_as_described(make_database: MakeDatabase, tmp_path: Path) -> None:
    databases = [make_database(), make_database()]
    settings = [Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4) for url in databases]
    before = create_app(settings[0])
    unchanged = Actor(before.test_client()).register()
    refreshed, revoked = unchanged.elsewhere(), unchanged.elsewhere()
    run_printed("pg_dump", databases[0], tmp_path)
    refreshed.refresh()
    assert revoked.log_out().status_code == 204
    later = unchanged.elsewhere()
    before.extensions["auth"].database.close()

    run_printed("pg_restore", databases[1], tmp_path)

    restored = create_app(settings[1]).test_client()
    for actor in (unchanged, refreshed, revoked, later):
        actor.client = restored
    assert later.me().get_json()["code"] == "token_invalid"
    assert later.try_refresh().get_json()["code"] == "refresh_invalid"
    assert refreshed.try_refresh().get_json()["code"] == "refresh_reused"
    assert revoked.me().status_code == 200
    assert unchanged.refresh().me().status_code == 200
    restored.application.extensions["auth"].database.close()
