"""What config.py declares: every setting with its name, its limits and its default."""

import traceback
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from config import ConfigError, Settings
from runtime import capacity
from runtime.settings import Rate

KEY = "0123456789abcdef0123456789abcdef"
REQUIRED = {"DB_URL": "postgresql://user:pw@db.example:5432/users", "SECRET_KEY": KEY}


def settings_of(**environ: str) -> Settings:
    return Settings.from_env(REQUIRED | environ)


def problems(**environ: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        settings_of(**environ)
    return caught.value.problems


def test_defaults_are_those_of_the_contract() -> None:
    settings = Settings.from_env(REQUIRED)

    assert (settings.db_url, settings.secret_key) == (REQUIRED["DB_URL"], KEY)
    assert (settings.port, settings.debug, settings.log_level) == (8080, False, "INFO")
    assert settings.cors_origins == (
        "http://localhost:3000",
        "http://localhost:3001",
        "http://127.0.0.1:3000",
        "http://127.0.0.1:3001",
    )
    assert (settings.jwt_expires_seconds, settings.bcrypt_rounds, settings.password_min_length) == (
        3600,
        12,
        8,
    )


def test_default_limits_are_those_of_the_contract() -> None:
    settings = settings_of()

    assert settings.rate_limits
    assert (str(settings.limit_address_failures), str(settings.limit_registrations)) == ("100/10m", "100/10m")
    assert (str(settings.limit_account_failures), str(settings.limit_device_failures)) == ("10/10m", "10/10m")
    assert settings.lockout_failures == 100


def test_hash_slots_are_the_cores_however_many_workers_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "available_cpus", lambda: 8)

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
        ("KEEPALIVE_SECONDS", "3600", "keepalive_seconds", 3600),
        ("RATE_LIMITS", "off", "rate_limits", False),
        ("LIMIT_ADDRESS_FAILURES", "1/31d", "limit_address_failures", Rate(1, "31d")),
        ("LIMIT_ACCOUNT_FAILURES", "999999/1s", "limit_account_failures", Rate(999_999, "1s")),
        ("LIMIT_DEVICE_FAILURES", "5/2h", "limit_device_failures", Rate(5, "2h")),
        ("LIMIT_REGISTRATIONS", "5/2h", "limit_registrations", Rate(5, "2h")),
        ("LOCKOUT_FAILURES", "0", "lockout_failures", 0),
        ("LOCKOUT_FAILURES", "999999", "lockout_failures", 999_999),
        ("FLASK_DEBUG", "on", "debug", True),
        ("CORS_ORIGINS", "https://a,http://b:1", "cors_origins", ("https://a", "http://b:1")),
        ("LOG_LEVEL", "warning", "log_level", "WARNING"),
        ("SECRET_KEY", "${PATH} $1", "secret_key", "${PATH} $1"),
        ("DB_URL", "postgres://db/users", "db_url", "postgres://db/users"),
    ],
)
def test_good_value_is_taken(name: str, value: str, field: str, expected: Any) -> None:
    assert getattr(settings_of(**{name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("JWT_EXPIRES_SECONDS", "0"),
        ("BCRYPT_ROUNDS", "3"),
        ("BCRYPT_ROUNDS", "17"),
        ("PASSWORD_MIN_LENGTH", "7"),
        ("PASSWORD_MIN_LENGTH", "65"),
        ("GUNICORN_WORKERS", "0"),
        ("GUNICORN_THREADS", "3"),
        ("DB_POOL_SIZE", "0"),
        ("HASH_SLOTS", "0"),
        ("HASH_QUEUE", "-1"),
        ("JWT_EXPIRES_SECONDS", "31622401"),
        ("RATE_LIMITS", "hunter2"),
        ("LIMIT_ADDRESS_FAILURES", "100"),
        ("LIMIT_ACCOUNT_FAILURES", "hunter2/10m"),
        ("LIMIT_DEVICE_FAILURES", "0/10m"),
        ("LIMIT_REGISTRATIONS", "100/32d"),
        ("LOCKOUT_FAILURES", "-1"),
        ("LOCKOUT_FAILURES", "1000000"),
        ("FLASK_DEBUG", "maybe"),
        ("CORS_ORIGINS", "*"),
        ("LOG_LEVEL", "LOUD"),
        ("SECRET_KEY", "ssh-rsa hunter2"),
        ("DB_URL", "mysql://u:hunter2@db/users"),
    ],
)
def test_bad_value_is_refused_under_its_name(name: str, value: str) -> None:
    bad = problems(**{name: value})

    assert list(bad) == [name]
    assert bad[name].startswith("must ")
    assert "hunter2" not in bad[name]


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
def test_secret_key_keeps_what_is_around_it(around: str) -> None:
    assert settings_of(SECRET_KEY=around.format(KEY)).secret_key == around.format(KEY)


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
    settings = settings_of()

    with pytest.raises(FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]


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
def test_name_in_the_env_file_that_looks_like_ours_is_warned_about(name: str, meant: str | None) -> None:
    (doubt,) = settings_of(**{name: "hunter2"}).doubts

    asked = f": is {meant} meant?" if meant else "."
    assert doubt == f"{name} in .env is no variable of this service{asked}"


def test_name_that_looks_like_a_missing_one_is_told_with_it() -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({"DATABASE_URL": REQUIRED["DB_URL"], "SECRET_KEY": KEY})

    assert caught.value.message == (
        "The service cannot start: DB_URL is required."
        " DATABASE_URL in .env is no variable of this service: is DB_URL meant?"
    )


@pytest.mark.parametrize(
    "name", ["POSTGRES_PASSWORD", "FLASK_APP", "COMPOSE_PROJECT_NAME", "REDIS_URL", "API_KEY", "TZ", "PATH"]
)
def test_name_in_the_env_file_for_another_program_is_no_concern(name: str) -> None:
    assert settings_of(**{name: "x"}).doubts == ()


def test_variable_of_mail_without_the_mail_server_is_a_doubt() -> None:
    settings = settings_of(LIMIT_MAILBOX="hunter2", SMTP_URL=" ")

    assert settings.mail is None
    assert settings.doubts == ("LIMIT_MAILBOX has no effect: SMTP_URL is not set.",)


def test_mail_server_takes_the_sender_and_the_frontend() -> None:
    rule = "is required with SMTP_URL"

    assert problems(SMTP_URL="smtp://localhost") == {"MAIL_FROM": rule, "FRONTEND_URL": rule}
