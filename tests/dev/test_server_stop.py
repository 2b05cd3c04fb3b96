"""How `python app.py` stops: by every signal, with all that it has started."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import requests

from tests.support import service
from tests.support.development import (
    WAIT_SECONDS,
    is_open,
    is_running,
    launched,
    needs_linux,
    serving,
    wait_until,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGHUP, id="closed terminal"),
    ],
)
def test_stop_ends_everything(used_tree: Path, number: int) -> None:
    with serving(used_tree) as started:
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
def test_closed_terminal_does_not_stop_what_nohup_started(used_tree: Path) -> None:
    with serving(used_tree, "nohup") as started:
        status = Path(f"/proc/{started.process.pid}/status").read_text()

    (ignored,) = re.findall(r"^SigIgn:\s+(\w+)$", status, re.MULTILINE)
    assert int(ignored, 16) & 1 << (signal.SIGHUP - 1)


def test_stop_ends_the_reloader_and_its_child(used_tree: Path) -> None:
    with serving(used_tree, FLASK_DEBUG="1", **service.UNCOUNTED) as started:  # the reloader kills its child
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


@needs_linux
def test_kill_leaves_no_postgresql_behind(used_tree: Path) -> None:
    with serving(used_tree) as started:
        postgres = started.postgres()
        sockets = started.sockets()

        started.stop(signal.SIGKILL)

        assert wait_until(lambda: not is_running(postgres))
        shutil.rmtree(sockets)


def test_stop_with_sigint_ignored_works_as_well(used_tree: Path) -> None:
    # As a shell starts what it puts into the background.
    with serving(used_tree, "sh", "-c", 'trap "" INT; exec "$0" "$@"') as started:
        assert started.stop(signal.SIGINT) == 0
