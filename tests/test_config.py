"""Settings out of the environment."""

import errno
import os
import re
import subprocess
import sys
import traceback
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

import config
from config import ConfigError, Settings
from runtime import capacity

KEY = "0123456789abcdef0123456789abcdef"
REQUIRED = {"DB_URL": "postgresql://user:pw@db.example:5432/users", "SECRET_KEY": KEY}


def settings_of(**environ: str) -> Settings:
    return Settings.from_env(REQUIRED | environ)


def problems(**environ: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        settings_of(**environ)
    return caught.value.problems


def test_defaults_are_those_of_the_contract() -> None:
    found = Settings.from_env(REQUIRED)

    assert (found.db_url, found.secret_key) == (REQUIRED["DB_URL"], KEY)
    assert (found.port, found.debug, found.log_level) == (8080, False, "INFO")
    assert found.cors_origins == (
        "http://localhost:3000",
        "http://localhost:3001",
        "http://127.0.0.1:3000",
        "http://127.0.0.1:3001",
    )
    assert (found.jwt_expires_seconds, found.bcrypt_rounds, found.password_min_length) == (3600, 12, 8)


def test_hash_slots_are_the_cores_however_many_workers_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "cores", lambda: 8)

    assert settings_of(GUNICORN_WORKERS="3").hash_slots == 8


@pytest.mark.parametrize("name", ["PORT", "FLASK_DEBUG", "CORS_ORIGINS", "JWT_EXPIRES_SECONDS", "LOG_LEVEL"])
def test_empty_value_counts_as_unset(name: str) -> None:
    assert settings_of(**{name: ""}) == Settings.from_env(REQUIRED)


@pytest.mark.parametrize("name", ["DB_URL", "SECRET_KEY"])
@pytest.mark.parametrize("absent", [True, False])
def test_required_variable_is_named_when_it_is_missing(name: str, absent: bool) -> None:
    environ = {key: value for key, value in REQUIRED.items() if key != name}

    with pytest.raises(ConfigError) as caught:
        Settings.from_env(environ if absent else environ | {name: ""})

    assert caught.value.problems == {name: "is required"}


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("PORT", "1", "port", 1),
        ("PORT", "65535", "port", 65535),
        ("FLASK_DEBUG", "1", "debug", True),
        ("FLASK_DEBUG", "True", "debug", True),
        ("FLASK_DEBUG", "yes", "debug", True),
        ("FLASK_DEBUG", "ON", "debug", True),
        ("FLASK_DEBUG", "0", "debug", False),
        ("FLASK_DEBUG", "false", "debug", False),
        ("FLASK_DEBUG", "No", "debug", False),
        ("FLASK_DEBUG", "off", "debug", False),
        ("CORS_ORIGINS", "https://app.example.com", "cors_origins", ("https://app.example.com",)),
        ("CORS_ORIGINS", " http://a:1 , https://b ,", "cors_origins", ("http://a:1", "https://b")),
        ("CORS_ORIGINS", "http://[::1]:3000", "cors_origins", ("http://[::1]:3000",)),
        ("CORS_ORIGINS", "http://[0:0::ABCD]", "cors_origins", ("http://[::abcd]",)),
        ("CORS_ORIGINS", "https://a:443,http://a:80", "cors_origins", ("https://a", "http://a")),
        ("CORS_ORIGINS", "https://a:80,http://a:443", "cors_origins", ("https://a:80", "http://a:443")),
        ("CORS_ORIGINS", "HTTPS://App.Example.com", "cors_origins", ("https://app.example.com",)),
        ("CORS_ORIGINS", "https://b\u00fccher.example", "cors_origins", ("https://xn--bcher-kva.example",)),
        ("CORS_ORIGINS", "http://my_frontend:3000", "cors_origins", ("http://my_frontend:3000",)),
        ("CORS_ORIGINS", "capacitor://localhost", "cors_origins", ("capacitor://localhost",)),
        ("CORS_ORIGINS", "tauri://localhost", "cors_origins", ("tauri://localhost",)),
        ("CORS_ORIGINS", "chrome-extension://abcd", "cors_origins", ("chrome-extension://abcd",)),
        ("JWT_EXPIRES_SECONDS", "1", "jwt_expires_seconds", 1),
        ("JWT_EXPIRES_SECONDS", "86400", "jwt_expires_seconds", 86400),
        ("BCRYPT_ROUNDS", "4", "bcrypt_rounds", 4),
        ("BCRYPT_ROUNDS", "16", "bcrypt_rounds", 16),
        ("PASSWORD_MIN_LENGTH", "8", "password_min_length", 8),
        ("PASSWORD_MIN_LENGTH", "64", "password_min_length", 64),
        ("GUNICORN_WORKERS", "3", "gunicorn_workers", 3),
        ("GUNICORN_THREADS", "16", "gunicorn_threads", 16),
        ("DB_POOL_SIZE", "1", "db_pool_size", 1),
        ("HASH_SLOTS", "3", "hash_slots", 3),
        ("HASH_QUEUE", "0", "hash_queue", 0),
        ("LOG_LEVEL", "WARNING", "log_level", "WARNING"),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("SECRET_KEY", "x", "secret_key", "x"),
        ("SECRET_KEY", "${PATH} $1 'quoted' \u00e9", "secret_key", "${PATH} $1 'quoted' \u00e9"),
        ("DB_URL", "postgres://db/users", "db_url", "postgres://db/users"),
        ("DB_URL", "postgresql:///users?host=/run/pg", "db_url", "postgresql:///users?host=/run/pg"),
        ("DB_URL", "postgresql://u:p%40s%2Fs@db/users", "db_url", "postgresql://u:p%40s%2Fs@db/users"),
        ("DB_URL", "postgresql://[::1]:5432/users", "db_url", "postgresql://[::1]:5432/users"),
        ("DB_URL", "postgresql://a:1,b:2/users", "db_url", "postgresql://a:1,b:2/users"),
        ("DB_URL", "postgresql://a,[::1]:2/users", "db_url", "postgresql://a,[::1]:2/users"),
        ("DB_URL", "postgresql://u:a[b]c@db/users", "db_url", "postgresql://u:a[b]c@db/users"),
        ("DB_URL", "postgresql://u:a]?#:c@db/users", "db_url", "postgresql://u:a]?#:c@db/users"),
        ("DB_URL", "postgresql://u\u2100:p@db/users", "db_url", "postgresql://u\u2100:p@db/users"),
        ("DB_URL", "postgresql://db/users?user=a@b", "db_url", "postgresql://db/users?user=a@b"),
        ("KEEPALIVE_SECONDS", "3600", "keepalive_seconds", 3600),
        (
            "DB_URL",
            "postgresql://db/users?sslmode=require",
            "db_url",
            "postgresql://db/users?sslmode=require",
        ),
    ],
)
def test_good_value_is_taken(name: str, value: str, field: str, expected: Any) -> None:
    assert getattr(settings_of(**{name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "8080.0"),
        ("PORT", "http"),
        ("PORT", "\u0668\u0660"),
        ("PORT", "9" * 5000),
        ("FLASK_DEBUG", "2"),
        ("FLASK_DEBUG", "maybe"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", ","),
        ("CORS_ORIGINS", "localhost:3000"),
        ("CORS_ORIGINS", "https://app.example.com/"),
        ("CORS_ORIGINS", "https://app.example.com/path"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("CORS_ORIGINS", r"https://.*\.example\.com"),
        ("CORS_ORIGINS", "https://user@example.com"),
        ("CORS_ORIGINS", "file:///"),
        ("CORS_ORIGINS", "https://app.example.com:65536"),
        ("CORS_ORIGINS", "https://fa\u00df.example"),
        ("CORS_ORIGINS", "https://[::1"),
        ("CORS_ORIGINS", "https://b\u00fccher..example"),
        ("CORS_ORIGINS", "https://a.example https://b.example"),
        ("CORS_ORIGINS", "https://a.example,*"),
        ("CORS_ORIGINS", "https://a.example:"),
        ("CORS_ORIGINS", "https://[::1].*"),
        ("JWT_EXPIRES_SECONDS", "0"),
        ("JWT_EXPIRES_SECONDS", "-3600"),
        ("JWT_EXPIRES_SECONDS", "1h"),
        ("JWT_EXPIRES_SECONDS", "1e3"),
        ("JWT_EXPIRES_SECONDS", "99999999999"),
        ("BCRYPT_ROUNDS", "3"),
        ("BCRYPT_ROUNDS", "17"),
        ("BCRYPT_ROUNDS", "twelve"),
        ("PASSWORD_MIN_LENGTH", "7"),
        ("PASSWORD_MIN_LENGTH", "65"),
        ("GUNICORN_WORKERS", "0"),
        ("GUNICORN_THREADS", "3"),
        ("DB_POOL_SIZE", "0"),
        ("HASH_SLOTS", "0"),
        ("HASH_QUEUE", "-1"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_LEVEL", "10"),
        ("SECRET_KEY", "-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----"),
        ("SECRET_KEY", "ssh-rsa hunter2"),
        ("SECRET_KEY", "hunter2\udcff"),
        ("DB_URL", "hunter2"),
        ("DB_URL", "mysql://u:hunter2@db/users"),
        ("DB_URL", "postgresql+psycopg2://u:hunter2@db/users"),
        ("DB_URL", "host=db password=hunter2"),
        ("DB_URL", "postgresql://u:hunter2@db:port/users"),
        ("DB_URL", "postgresql://u:hunter2@db:0/users"),
        ("DB_URL", "postgresql://u:hunter2@db:99999/users"),
        ("DB_URL", "postgresql://u:p@hunter2@db/users"),
        ("DB_URL", "postgresql://u:hun/ter2@db/users"),
        ("DB_URL", "postgresql://u:hunter2%zz@db/users"),
        ("DB_URL", "postgresql://u:hunter2@[::1/users"),
        ("DB_URL", "postgresql://u@db/users?hunter2=1"),
        ("DB_URL", "postgresql://u:hunter2\udcff@db/users"),
        ("DB_URL", "postgresql://u:5/hunter2@db/users"),
        ("DB_URL", "postgresql://u:p@hunter2/x@db/users"),
        ("DB_URL", "postgresql://db/hunter2@users"),
        ("DB_URL", "postgresql://u:hunter2@db/users?schema=public"),
        ("DB_URL", "postgresql://u:hunter2@db/users?pgbouncer=true&connection_limit=1"),
        ("DB_URL", "postgresql://u:hunter2@db/users?sslmode=no-verify"),
        ("DB_URL", "postgresql://u:p@a:1,hunter2:x/users"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_bad_value_is_refused_and_never_repeated(name: str, value: str) -> None:
    found = problems(**{name: value})

    assert list(found) == [name]
    assert found[name].startswith("must ")
    assert "hunter2" not in found[name]
    assert len(value) < 8 or value not in found[name]


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql://u:[hunter2]@[db/users", id="brackets"),
        pytest.param("postgresql://u:hunter2\u2100@x@db/users", id="character that NFKC makes a slash"),
        pytest.param("postgresql://u:hunter2[/@db/users", id="one bracket"),
    ],
)
def test_password_that_a_parser_would_quote_is_never_repeated(url: str) -> None:
    assert "hunter2" not in str(problems(DB_URL=url)["DB_URL"])


@pytest.mark.parametrize(
    "url", ["mysql://u:p@db/users", "postgresql://u:p@ss@db/users", "postgresql://db:0/u"]
)
def test_bad_database_url_is_told_how_to_encode_a_password(url: str) -> None:
    told = problems(DB_URL=url)["DB_URL"]

    (code,) = re.findall("python3 -c '(.+)'", told)
    encoded = subprocess.run(
        [sys.executable, "-c", code.replace("getpass()", "input()")],
        input="a@b:c/%",
        capture_output=True,
        text=True,
    ).stdout
    assert encoded == "a%40b%3Ac%2F%25\n"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        pytest.param("postgresql+psycopg2://u:p@db/users", "leave out the +", id="SQLAlchemy's driver"),
        pytest.param(
            "postgresql://u:p@db/users?schema=public", "ALTER ROLE ... SET search_path", id="schema"
        ),
        pytest.param("postgres://u:p@db/users?sslmode=require&pgbouncer=1", "Prisma", id="Prisma"),
        pytest.param("postgresql://u:p@db/users?sslmode=no-verify", "no-verify is require", id="no-verify"),
    ],
)
def test_database_url_of_another_tool_is_told_what_to_leave_out(url: str, told: str) -> None:
    assert told in problems(DB_URL=url)["DB_URL"]


AROUND = [
    pytest.param("{}\n", id="line end"),
    pytest.param("{}\r", id="CR"),
    pytest.param(" \t{} ", id="blanks"),
    pytest.param("\ufeff{}\r\n", id="byte order mark"),
    pytest.param('"{}"', id="double quotes"),
    pytest.param("'{}'\r", id="quotes and CR"),
]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("DB_URL", REQUIRED["DB_URL"], "db_url", REQUIRED["DB_URL"]),
        ("PORT", "8090", "port", 8090),
        ("FLASK_DEBUG", "on", "debug", True),
        ("LOG_LEVEL", "ERROR", "log_level", "ERROR"),
        ("CORS_ORIGINS", "http://a,http://b", "cors_origins", ("http://a", "http://b")),
    ],
)
def test_what_an_editor_leaves_around_a_value_is_no_part_of_it(
    around: str, name: str, value: str, field: str, expected: Any
) -> None:
    assert getattr(settings_of(**{name: around.format(value)}), field) == expected


@pytest.mark.parametrize("around", AROUND)
def test_secret_key_keeps_what_is_around_it_and_warns(around: str) -> None:
    found = settings_of(SECRET_KEY=around.format(KEY))

    (warning,) = found.warnings()
    assert found.secret_key == around.format(KEY)
    assert warning.startswith("SECRET_KEY begins or ends with a line end")
    assert KEY not in warning


def test_sample_key_with_a_line_end_is_still_a_sample() -> None:
    assert any("sample value" in warning for warning in settings_of(SECRET_KEY="change-me\n").warnings())


@pytest.mark.parametrize("name", ["PORT", "DB_URL", "SECRET_KEY"])
def test_value_of_nothing_but_a_line_end_counts_as_unset(
    dot_env: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    dot_env.write_text(f"{name}=from the file\n")
    monkeypatch.setenv(name, "\r\n")

    assert config.read_environment(dot_env.parent) == {name: "from the file"}


def test_several_bad_values_are_named_in_one_message() -> None:
    bad = {"DB_URL": "mysql://hunter2", "SECRET_KEY": "", "PORT": "hunter2", "LOG_LEVEL": "hunter2"}

    with pytest.raises(ConfigError) as caught:
        Settings.from_env(bad)

    assert set(caught.value.problems) == set(bad)
    assert all(name in caught.value.message for name in bad)
    assert caught.value.message.startswith("The service cannot start: ")
    assert "hunter2" not in caught.value.message
    assert "\n" not in caught.value.message


def test_bad_value_hides_behind_no_chained_error() -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of(DB_URL="postgresql://u:hunter2@db:port/users")

    printed = "".join(traceback.format_exception(None, caught.value, None))
    assert "hunter2" not in printed


def test_unknown_variables_are_ignored() -> None:
    assert settings_of(HOME="/root", FLASK_ENV="x") == Settings.from_env(REQUIRED)


@pytest.mark.parametrize("level", ["", "ERROR"])
def test_debug_means_the_debug_level(level: str) -> None:
    assert settings_of(FLASK_DEBUG="1", LOG_LEVEL=level).log_level == "DEBUG"


def test_no_debug_leaves_the_level() -> None:
    assert settings_of(FLASK_DEBUG="0", LOG_LEVEL="ERROR").log_level == "ERROR"


def test_settings_do_not_show_their_secrets() -> None:
    text = repr(settings_of(DB_URL="postgresql://u:hunter2@db/users", SECRET_KEY="s3cret-" + KEY))

    assert "hunter2" not in text
    assert "s3cret" not in text


def test_settings_cannot_be_changed() -> None:
    found = settings_of()

    with pytest.raises(FrozenInstanceError):
        found.port = 1  # type: ignore[misc]


def test_good_settings_warn_of_nothing() -> None:
    assert settings_of().warnings() == []


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        pytest.param({"SECRET_KEY": "x" * 31}, ["SECRET_KEY is shorter"], id="short key"),
        pytest.param({"SECRET_KEY": "change-me"}, ["SECRET_KEY is a sample"], id="sample key"),
        pytest.param({"SECRET_KEY": "\u00e9" * 16}, [], id="16 characters in 32 bytes"),
        pytest.param({"BCRYPT_ROUNDS": "9"}, ["BCRYPT_ROUNDS is below"], id="few rounds"),
        pytest.param({"BCRYPT_ROUNDS": "10"}, [], id="enough rounds"),
        pytest.param(
            {"SECRET_KEY": "x", "BCRYPT_ROUNDS": "4"}, ["SECRET_KEY is", "BCRYPT_ROUNDS is"], id="both"
        ),
    ],
)
def test_insecure_settings_warn_without_their_values(environ: dict[str, str], named: list[str]) -> None:
    found = settings_of(**environ).warnings()

    assert len(found) == len(named)
    assert all(warning.startswith(start) for warning, start in zip(found, named, strict=True))
    assert not [warning for warning in found if environ.get("SECRET_KEY", "-" * 9) in warning.split()]


@pytest.fixture
def dot_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `.env` in a folder of its own, and a process environment with nothing but PATH."""
    for name in list(os.environ):
        if name not in ("PATH", "PYTEST_CURRENT_TEST"):
            monkeypatch.delenv(name)
    return tmp_path / ".env"


def test_env_file_is_read(dot_env: Path) -> None:
    dot_env.write_text(f"# the database\nDB_URL={REQUIRED['DB_URL']}\nexport SECRET_KEY='{KEY}'\nPORT=8090\n")

    found = Settings.from_env(config.read_environment(dot_env.parent))

    assert (found.db_url, found.secret_key, found.port) == (REQUIRED["DB_URL"], KEY, 8090)


@pytest.mark.parametrize(
    "line", ["SECRET_KEY=a${PATH}b$PATH", "SECRET_KEY='a${PATH}b$PATH'", 'SECRET_KEY="a${PATH}b$PATH"']
)
def test_env_file_is_not_expanded(dot_env: Path, line: str) -> None:
    dot_env.write_text(line)

    assert config.read_environment(dot_env.parent)["SECRET_KEY"] == "a${PATH}b$PATH"


def test_environment_beats_the_env_file(dot_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dot_env.write_text("PORT=1\nLOG_LEVEL=ERROR\n")
    monkeypatch.setenv("PORT", "2")

    found = config.read_environment(dot_env.parent)

    assert (found["PORT"], found["LOG_LEVEL"]) == ("2", "ERROR")


def test_empty_variable_does_not_beat_the_env_file(dot_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dot_env.write_text("PORT=1\nLOG_LEVEL=\nFLASK_DEBUG\n")
    monkeypatch.setenv("PORT", "")

    found = config.read_environment(dot_env.parent)

    assert found["PORT"] == "1"
    assert not {"LOG_LEVEL", "FLASK_DEBUG"} & set(found)


def test_missing_env_file_is_no_error(dot_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "2")

    assert config.read_environment(dot_env.parent)["PORT"] == "2"


def test_env_file_does_not_change_the_process_environment(dot_env: Path) -> None:
    dot_env.write_text("PORT=1\n")

    config.read_environment(dot_env.parent)

    assert "PORT" not in os.environ


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        pytest.param("JWT_EXPIRE_SECONDS", "JWT_EXPIRES_SECONDS", id="a letter is missing"),
        pytest.param("db_url", "DB_URL", id="small letters"),
        pytest.param("SECRETKEY", "SECRET_KEY", id="no underscore"),
        pytest.param("DATABASE_URL", "DB_URL", id="the name elsewhere"),
        pytest.param("FLASK_DEBUGG", "FLASK_DEBUG", id="Flask's word"),
        pytest.param("JWT_ALGORITHM", None, id="our first word"),
    ],
)
def test_name_in_the_env_file_that_looks_like_ours_is_warned_about(
    dot_env: Path, name: str, meant: str | None
) -> None:
    dot_env.write_text(f"DB_URL={REQUIRED['DB_URL']}\nSECRET_KEY={KEY}\n{name}=hunter2\n")

    (doubt,) = Settings.from_env(config.read_environment(dot_env.parent)).doubts()

    asked = f": is {meant} meant?" if meant else "."
    assert doubt == f"{name} in .env is no variable of this service{asked}"


def test_name_that_looks_like_a_missing_one_is_told_with_it(dot_env: Path) -> None:
    dot_env.write_text(f"DATABASE_URL={REQUIRED['DB_URL']}\nSECRET_KEY={KEY}\n")

    with pytest.raises(ConfigError) as caught:
        Settings.from_env(config.read_environment(dot_env.parent))

    assert caught.value.message == (
        "The service cannot start: DB_URL is required."
        " DATABASE_URL in .env is no variable of this service: is DB_URL meant?"
    )


@pytest.mark.parametrize(
    "name", ["POSTGRES_PASSWORD", "FLASK_APP", "COMPOSE_PROJECT_NAME", "REDIS_URL", "API_KEY", "TZ", "PATH"]
)
def test_name_in_the_env_file_for_another_program_is_no_concern(dot_env: Path, name: str) -> None:
    dot_env.write_text(f"DB_URL={REQUIRED['DB_URL']}\nSECRET_KEY={KEY}\n{name}=x\n")

    assert Settings.from_env(config.read_environment(dot_env.parent)).doubts() == []


def test_name_in_the_process_environment_is_no_concern(
    dot_env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dot_env.write_text(f"DB_URL={REQUIRED['DB_URL']}\nSECRET_KEY={KEY}\n")
    monkeypatch.setenv("DB_PORT", "tcp://10.0.0.1:5432")  # as Kubernetes does for a service called db

    assert Settings.from_env(config.read_environment(dot_env.parent)).doubts() == []


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
        config.read_environment(dot_env.parent)

    assert f"{dot_env}, {line}, cannot be read: NAME=value is expected" in caught.value.message
    assert "hunter2" not in caught.value.message


def test_byte_order_mark_is_no_part_of_the_first_name(dot_env: Path) -> None:
    dot_env.write_bytes(b"\xef\xbb\xbfPORT=1\n")

    assert config.read_environment(dot_env.parent) == {"PORT": "1"}


def test_env_file_that_is_not_utf_8_is_named(dot_env: Path) -> None:
    dot_env.write_bytes("SECRET_KEY=h\u00fcnter2\n".encode("latin-1"))

    with pytest.raises(ConfigError) as caught:
        config.read_environment(dot_env.parent)

    assert caught.value.problems == {str(dot_env): "must be UTF-8 text"}


def test_env_file_that_may_not_be_read_is_named(dot_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:  # root may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_text", refuse)

    with pytest.raises(ConfigError) as caught:
        config.read_environment(dot_env.parent)

    assert caught.value.problems == {str(dot_env): "cannot be read (Permission denied)"}


def test_folder_called_env_is_no_file_of_settings(dot_env: Path) -> None:
    dot_env.mkdir()

    assert config.read_environment(dot_env.parent) == {}
