"""Removing sessions that have ended, beside every other call."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.actor import Actor, HttpClient
from tests.support.database import MakeDatabase, run_sql
from tests.support.expired_sessions import ADD, COUNT
from tests.support.races import at_once, statuses, two_workers

pytestmark = pytest.mark.slow


def test_purge_beside_everything_is_never_an_error(make_database: MakeDatabase, tmp_path: Path) -> None:
    database = make_database()
    often = "sed -i 's/_SECONDS = [0-9.]*/_SECONDS = 0.05/' auth/housekeeping.py"
    with two_workers(tmp_path / "log", database, bcrypt_rounds=4, before=often) as started:
        user = Actor(HttpClient(started.url)).register()
        run_sql(database, ADD, 3000)

        def log_in_and_out() -> Any:
            for _ in range(12):
                phone = user.elsewhere()
                assert phone.try_refresh().status_code == 200
                assert phone.log_out().status_code == 204
            return user.me()

        answers = at_once(*[log_in_and_out] * 8)
        deadline = time.monotonic() + 10
        while run_sql(database, COUNT) != [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    assert statuses(answers) == {200: 8}
    assert '"ERROR"' not in (tmp_path / "log").read_text()
