"""What the service says when it starts: which settings are insecure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from config import Settings
from ops.startup import insecure_settings, warn_operator
from runtime.mail_settings import frontend_url, smtp_url
from tests.support.mails import mail_settings

KEY = "0123456789abcdef0123456789abcdef"


def settings_with(**changes: Any) -> Settings:
    values = {"db_url": "postgresql://user:pw@localhost/users", "secret_key": KEY} | changes
    return Settings(**values)


def warnings_of(environ: Mapping[str, str] = MappingProxyType({}), **changes: Any) -> list[str]:
    return insecure_settings(settings_with(**changes), environ)


def test_good_settings_warn_of_nothing() -> None:
    assert warnings_of() == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"secret_key": "x" * 31}, ["SECRET_KEY is shorter"], id="short key"),
        pytest.param({"secret_key": "change-me"}, ["SECRET_KEY is a sample"], id="sample key"),
        pytest.param({"secret_key": "\u00e9" * 16}, [], id="16 characters in 32 bytes"),
        pytest.param({"bcrypt_rounds": 9}, ["BCRYPT_ROUNDS is below"], id="few rounds"),
        pytest.param({"bcrypt_rounds": 10}, [], id="enough rounds"),
        pytest.param(
            {"secret_key": "x", "bcrypt_rounds": 4}, ["SECRET_KEY is", "BCRYPT_ROUNDS is"], id="both"
        ),
    ],
)
def test_insecure_settings_warn_without_their_values(changes: dict[str, Any], named: list[str]) -> None:
    warnings = warnings_of(**changes)

    assert len(warnings) == len(named)
    assert all(warning.startswith(start) for warning, start in zip(warnings, named, strict=True))
    assert not [warning for warning in warnings if changes.get("secret_key", "-" * 9) in warning.split()]


@pytest.mark.parametrize(
    "around",
    [
        pytest.param("{}\n", id="line end"),
        pytest.param("{}\r", id="CR"),
        pytest.param(" \t{} ", id="blanks"),
        pytest.param("\ufeff{}\r\n", id="byte order mark"),
        pytest.param('"{}"', id="double quotes"),
        pytest.param("'{}'\r", id="quotes and CR"),
    ],
)
def test_key_with_something_around_it_warns(around: str) -> None:
    (warning,) = warnings_of(secret_key=around.format(KEY))

    assert warning.startswith("SECRET_KEY begins or ends with a line end")
    assert KEY not in warning


def test_sample_key_with_a_line_end_is_still_a_sample() -> None:
    warnings = warnings_of(secret_key="change-me\n")

    assert any("sample value" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("url", "environ", "is_open"),
    [
        pytest.param("postgresql://u:hunter2@db.example/users", {}, True, id="name"),
        pytest.param("postgresql://u:hunter2@192.0.2.1:5432/users", {}, True, id="IPv4"),
        pytest.param("postgresql://u:hunter2@[2001:db8::1]/users", {}, True, id="IPv6"),
        pytest.param("postgresql://u:hunter2@/users?host=db", {}, True, id="host as a parameter"),
        pytest.param("postgresql://u:hunter2@localhost/users?hostaddr=192.0.2.1", {}, True, id="hostaddr"),
        pytest.param("postgresql://u:hunter2@localhost,db/users", {}, True, id="the second of two hosts"),
        pytest.param("postgresql://u:hunter2@db/users?sslmode=", {}, True, id="empty sslmode"),
        pytest.param("postgresql://u:hunter2@db/users", {"PGSSLMODE": ""}, True, id="empty PGSSLMODE"),
        pytest.param("postgresql://u:hunter2@db/users?sslmode=verify-full", {}, False, id="verify-full"),
        pytest.param("postgresql://u:hunter2@db/users?sslmode=disable", {}, False, id="disable"),
        pytest.param("postgresql://u:hunter2@db/users", {"PGSSLMODE": "require"}, False, id="PGSSLMODE"),
        pytest.param("postgresql://u:hunter2@LocalHost:5433/users", {}, False, id="localhost"),
        pytest.param("postgresql://u:hunter2@127.0.0.2,[::1]/users", {}, False, id="loopback addresses"),
        pytest.param("postgresql://u:hunter2@db/users?hostaddr=127.0.0.1", {}, False, id="loopback hostaddr"),
        pytest.param("postgresql:///users?host=/run/postgresql,@abstract", {}, False, id="Unix sockets"),
        pytest.param("postgresql:///users", {}, False, id="no host"),
    ],
)
def test_database_on_another_host_without_sslmode_warns(
    url: str, environ: dict[str, str], is_open: bool
) -> None:
    warnings = warnings_of(environ, db_url=url)

    assert [warning.startswith("DB_URL names another host and has no sslmode") for warning in warnings] == (
        [True] * is_open
    )
    assert "hunter2" not in str(warnings)


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        pytest.param("smtp://user:hunter2@mail.example?tls=off", True, id="name"),
        pytest.param("smtp://user:hunter2@192.0.2.1:25?tls=off", True, id="IPv4"),
        pytest.param("smtp://user:hunter2@[2001:db8::1]?tls=off", True, id="IPv6"),
        pytest.param("smtp://mail.example?tls=off", False, id="no login"),
        pytest.param("smtp://user:hunter2@mail.example", False, id="STARTTLS"),
        pytest.param("smtps://user:hunter2@mail.example", False, id="implicit TLS"),
        pytest.param("smtp://user:hunter2@LocalHost?tls=off", False, id="localhost"),
        pytest.param("smtp://user:hunter2@[::1]", False, id="loopback address"),
    ],
)
def test_password_to_a_mail_server_without_tls_warns(url: str, is_open: bool) -> None:
    warnings = warnings_of(mail=mail_settings(smtp=smtp_url(url)))

    assert [warning.startswith("SMTP_URL has a password and ?tls=off") for warning in warnings] == (
        [True] * is_open
    )
    assert "hunter2" not in str(warnings)


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        pytest.param("http://app.example.com", True, id="name"),
        pytest.param("http://App.example.com:8000/users", True, id="port and path"),
        pytest.param("http://[2001:db8::1]:3000", True, id="IPv6"),
        pytest.param("https://app.example.com", False, id="https"),
        pytest.param("http://localhost:3000", False, id="localhost"),
        pytest.param("http://[::1]:3000", False, id="loopback address"),
    ],
)
def test_links_to_a_frontend_without_tls_warn(url: str, is_open: bool) -> None:
    warnings = warnings_of(mail=mail_settings(frontend_url=frontend_url(url)))

    assert [warning.startswith("FRONTEND_URL begins with http://") for warning in warnings] == (
        [True] * is_open
    )


@pytest.mark.parametrize(("mode", "count"), [("", 1), ("require", 0)])
def test_start_logs_the_warning_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: str, count: int
) -> None:
    monkeypatch.setenv("PGSSLMODE", mode)

    warn_operator(settings_with(db_url="postgresql://u:hunter2@db/users"))

    lines = [record.getMessage() for record in caplog.records]
    assert [line.startswith("insecure_setting: DB_URL names another host") for line in lines] == [
        True
    ] * count
    assert "\n" not in "".join(lines)


def test_start_logs_one_line_for_each_variable_that_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"DB_URL": "postgresql://localhost/users", "SECRET_KEY": KEY, "LIMIT_MAILBOX": "1/hunter2"}

    warn_operator(Settings.from_env(environ | {"LOG_LEVL": "hunter2"}))

    assert [record.getMessage() for record in caplog.records] == [
        "ignored_setting: LOG_LEVL in .env is no variable of this service: is LOG_LEVEL meant?",
        "ignored_setting: LIMIT_MAILBOX has no effect: SMTP_URL is not set.",
    ]
