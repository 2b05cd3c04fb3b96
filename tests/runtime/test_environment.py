"""Reading the process environment and `.env`."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from config import ConfigError, Settings, read_environment
from runtime import environment
from runtime.declarations import declarations

KNOWN = declarations(Settings)
DB_URL = "postgresql://user:pw@db.example:5432/users"
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def dot_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `.env` in a folder of its own, and a process environment with nothing but PATH."""
    for name in list(os.environ):
        if name not in ("PATH", "PYTEST_CURRENT_TEST"):
            monkeypatch.delenv(name)
    return tmp_path / ".env"


def test_env_file_is_read(dot_env: Path) -> None:
    dot_env.write_text(f"# the database\nDB_URL={DB_URL}\nexport SECRET_KEY='{KEY}'\nPORT=8090\n")

    settings = Settings.from_env(read_environment(dot_env.parent))

    assert (settings.db_url, settings.secret_key, settings.port) == (DB_URL, KEY, 8090)


@pytest.mark.parametrize("name", ["PORT", "DB_URL", "SECRET_KEY"])
def test_value_of_nothing_but_a_line_end_counts_as_unset(
    dot_env: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    dot_env.write_text(f"{name}=from the file\n")
    monkeypatch.setenv(name, "\r\n")

    assert environment.read(dot_env, KNOWN) == {name: "from the file"}


@pytest.mark.parametrize(
    "line", ["SECRET_KEY=a${PATH}b$PATH", "SECRET_KEY='a${PATH}b$PATH'", 'SECRET_KEY="a${PATH}b$PATH"']
)
def test_env_file_is_not_expanded(dot_env: Path, line: str) -> None:
    dot_env.write_text(line)

    assert environment.read(dot_env, KNOWN)["SECRET_KEY"] == "a${PATH}b$PATH"


def test_environment_beats_the_env_file(dot_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dot_env.write_text("PORT=1\nLOG_LEVEL=ERROR\n")
    monkeypatch.setenv("PORT", "2")

    variables = environment.read(dot_env, KNOWN)

    assert (variables["PORT"], variables["LOG_LEVEL"]) == ("2", "ERROR")


def test_empty_variable_does_not_beat_the_env_file(dot_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dot_env.write_text('PORT=1\nLOG_LEVEL=\nFLASK_DEBUG\nSMTP_URL=" "\nMAIL_FROM=\'""\'\n')
    monkeypatch.setenv("PORT", "")

    variables = environment.read(dot_env, KNOWN)

    assert variables == {"PORT": "1"}


def test_missing_env_file_is_no_error(dot_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "2")

    assert environment.read(dot_env, KNOWN)["PORT"] == "2"


def test_env_file_does_not_change_the_process_environment(dot_env: Path) -> None:
    dot_env.write_text("PORT=1\n")

    environment.read(dot_env, KNOWN)

    assert "PORT" not in os.environ


def test_name_in_the_process_environment_is_no_concern(
    dot_env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dot_env.write_text(f"DB_URL={DB_URL}\nSECRET_KEY={KEY}\n")
    monkeypatch.setenv("DB_PORT", "tcp://10.0.0.1:5432")  # as Kubernetes does for a service called db

    assert Settings.from_env(read_environment(dot_env.parent)).doubts == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(b"PORT=1\nhunter2 is my password\n", "line 2", id="prose"),
        pytest.param(b'PORT=1\n\nSECRET_KEY="hunter2\nLOG_LEVEL=INFO\n', "line 3", id="a quote stays open"),
        pytest.param(b"=hunter2\nPORT=1\n  is hunter2\n", "line 1, 3", id="two lines"),
    ],
)
def test_line_of_the_env_file_that_cannot_be_read_is_named(dot_env: Path, text: bytes, line: str) -> None:
    dot_env.write_bytes(text)

    with pytest.raises(ConfigError) as caught:
        environment.read(dot_env, KNOWN)

    assert f"{dot_env}, {line}, cannot be read: NAME=value is expected" in caught.value.message
    assert "hunter2" not in caught.value.message


def test_byte_order_mark_is_no_part_of_the_first_name(dot_env: Path) -> None:
    dot_env.write_bytes(b"\xef\xbb\xbfPORT=1\n")

    assert environment.read(dot_env, KNOWN) == {"PORT": "1"}


def test_env_file_that_is_not_utf_8_is_named(dot_env: Path) -> None:
    dot_env.write_bytes("SECRET_KEY=h\u00fcnter2\n".encode("latin-1"))

    with pytest.raises(ConfigError) as caught:
        environment.read(dot_env, KNOWN)

    assert caught.value.problems == {str(dot_env): "must be UTF-8 text"}


def test_env_file_that_may_not_be_read_is_named(dot_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:  # root may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_text", refuse)

    with pytest.raises(ConfigError) as caught:
        environment.read(dot_env, KNOWN)

    assert caught.value.problems == {str(dot_env): "cannot be read (Permission denied)"}


def test_folder_called_env_is_no_file_of_settings(dot_env: Path) -> None:
    dot_env.mkdir()

    assert environment.read(dot_env, KNOWN) == {}
