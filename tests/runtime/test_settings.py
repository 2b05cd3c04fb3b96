"""The kinds of values that a setting may have: what each takes, and what it refuses."""

import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from runtime import settings
from runtime.settings import MAX_RATE_SECONDS, Rate, WholeNumber

NUMBER = WholeNumber(1, 65535)


def broken_rule(kind: Callable[[str], Any], text: str) -> str:
    """Return the rule that `text` breaks."""
    with pytest.raises(ValueError, match=r"^must ") as caught:
        kind(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (settings.switch, "1", True),
        (settings.switch, "True", True),
        (settings.switch, "yes", True),
        (settings.switch, "ON", True),
        (settings.switch, "0", False),
        (settings.switch, "false", False),
        (settings.switch, "No", False),
        (settings.switch, "off", False),
        (settings.cors_origins, "https://app.example.com", ("https://app.example.com",)),
        (settings.cors_origins, " http://a:1 , https://b ,", ("http://a:1", "https://b")),
        (settings.cors_origins, "http://[::1]:3000", ("http://[::1]:3000",)),
        (settings.cors_origins, "http://[0:0::ABCD]", ("http://[::abcd]",)),
        (settings.cors_origins, "https://a:443,http://a:80", ("https://a", "http://a")),
        (settings.cors_origins, "https://a:80,http://a:443", ("https://a:80", "http://a:443")),
        (settings.cors_origins, "HTTPS://App.Example.com", ("https://app.example.com",)),
        (settings.cors_origins, "https://b\u00fccher.example", ("https://xn--bcher-kva.example",)),
        (settings.cors_origins, "http://my_frontend:3000", ("http://my_frontend:3000",)),
        (settings.cors_origins, "capacitor://localhost", ("capacitor://localhost",)),
        (settings.cors_origins, "tauri://localhost", ("tauri://localhost",)),
        (settings.cors_origins, "chrome-extension://abcd", ("chrome-extension://abcd",)),
        (settings.log_level, "WARNING", "WARNING"),
        (settings.log_level, "debug", "DEBUG"),
        (settings.secret_key, "x", "x"),
        (settings.secret_key, "${PATH} $1 'quoted' \u00e9", "${PATH} $1 'quoted' \u00e9"),
        (settings.db_url, "postgres://db/users", "postgres://db/users"),
        (settings.db_url, "postgresql:///users?host=/run/pg", "postgresql:///users?host=/run/pg"),
        (settings.db_url, "postgresql://u:p%40s%2Fs@db/users", "postgresql://u:p%40s%2Fs@db/users"),
        (settings.db_url, "postgresql://[::1]:5432/users", "postgresql://[::1]:5432/users"),
        (settings.db_url, "postgresql://a:1,b:2/users", "postgresql://a:1,b:2/users"),
        (settings.db_url, "postgresql://a,[::1]:2/users", "postgresql://a,[::1]:2/users"),
        (settings.db_url, "postgresql://u:a[b]c@db/users", "postgresql://u:a[b]c@db/users"),
        (settings.db_url, "postgresql://u:a]?#:c@db/users", "postgresql://u:a]?#:c@db/users"),
        (settings.db_url, "postgresql://u\u2100:p@db/users", "postgresql://u\u2100:p@db/users"),
        (settings.db_url, "postgresql://db/users?user=a@b", "postgresql://db/users?user=a@b"),
        (settings.db_url, "postgresql://db/users?sslmode=require", "postgresql://db/users?sslmode=require"),
        (NUMBER, "1", 1),
        (NUMBER, "65535", 65535),
        (settings.rate, "10/10m", Rate(10, "10m")),
        (settings.rate, "1/1s", Rate(1, "1s")),
        (settings.rate, "999999/31d", Rate(999_999, "31d")),
        (settings.rate, "7/744h", Rate(7, "744h")),
        (settings.rate, "007/0060s", Rate(7, "0060s")),
    ],
)
def test_good_text_becomes_a_value(kind: Callable[[str], Any], text: str, value: Any) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (NUMBER, "-1"),
        (NUMBER, "8080.0"),
        (NUMBER, "http"),
        (NUMBER, "\u0668\u0660"),
        (NUMBER, "9" * 5000),
        (settings.switch, "2"),
        (settings.switch, "maybe"),
        (settings.cors_origins, "*"),
        (settings.cors_origins, "null"),
        (settings.cors_origins, ","),
        (settings.cors_origins, "localhost:3000"),
        (settings.cors_origins, "https://app.example.com/"),
        (settings.cors_origins, "https://app.example.com/path"),
        (settings.cors_origins, "https://*.example.com"),
        (settings.cors_origins, r"https://.*\.example\.com"),
        (settings.cors_origins, "https://user@example.com"),
        (settings.cors_origins, "file:///"),
        (settings.cors_origins, "https://app.example.com:65536"),
        (settings.cors_origins, "https://fa\u00df.example"),
        (settings.cors_origins, "https://[::1"),
        (settings.cors_origins, "https://b\u00fccher..example"),
        (settings.cors_origins, "https://a.example https://b.example"),
        (settings.cors_origins, "https://a.example,*"),
        (settings.cors_origins, "https://a.example:"),
        (settings.cors_origins, "https://[::1].*"),
        (NUMBER, "-3600"),
        (NUMBER, "1h"),
        (NUMBER, "1e3"),
        (NUMBER, "99999999999"),
        (NUMBER, "twelve"),
        (settings.log_level, "LOUD"),
        (settings.log_level, "10"),
        (settings.secret_key, "-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----"),
        (settings.secret_key, "ssh-rsa hunter2"),
        (settings.secret_key, "hunter2\udcff"),
        (settings.db_url, "hunter2"),
        (settings.db_url, "mysql://u:hunter2@db/users"),
        (settings.db_url, "postgresql+psycopg2://u:hunter2@db/users"),
        (settings.db_url, "host=db password=hunter2"),
        (settings.db_url, "postgresql://u:hunter2@db:port/users"),
        (settings.db_url, "postgresql://u:hunter2@db:0/users"),
        (settings.db_url, "postgresql://u:hunter2@db:99999/users"),
        (settings.db_url, "postgresql://u:p@hunter2@db/users"),
        (settings.db_url, "postgresql://u:hun/ter2@db/users"),
        (settings.db_url, "postgresql://u:hunter2%zz@db/users"),
        (settings.db_url, "postgresql://u:hunter2@[::1/users"),
        (settings.db_url, "postgresql://u@db/users?hunter2=1"),
        (settings.db_url, "postgresql://u:hunter2\udcff@db/users"),
        (settings.db_url, "postgresql://u:5/hunter2@db/users"),
        (settings.db_url, "postgresql://u:p@hunter2/x@db/users"),
        (settings.db_url, "postgresql://db/hunter2@users"),
        (settings.db_url, "postgresql://u:hunter2@db/users?schema=public"),
        (settings.db_url, "postgresql://u:hunter2@db/users?pgbouncer=true&connection_limit=1"),
        (settings.db_url, "postgresql://u:hunter2@db/users?sslmode=no-verify"),
        (settings.db_url, "postgresql://u:p@a:1,hunter2:x/users"),
        (NUMBER, "0"),
        (NUMBER, "65536"),
        (settings.rate, ""),
        (settings.rate, "10"),
        (settings.rate, "10/"),
        (settings.rate, "/10m"),
        (settings.rate, "0/10m"),
        (settings.rate, "000000/1s"),
        (settings.rate, "-1/10m"),
        (settings.rate, "+1/10m"),
        (settings.rate, "1.5/1m"),
        (settings.rate, "1000000/1d"),
        (settings.rate, "10/0m"),
        (settings.rate, "10/m"),
        (settings.rate, "10/10"),
        (settings.rate, "10/10 m"),
        (settings.rate, "10 / 10m"),
        (settings.rate, "10/10M"),
        (settings.rate, "10/10w"),
        (settings.rate, "10/32d"),
        (settings.rate, "10/745h"),
        (settings.rate, "10/44641m"),
        (settings.rate, "10/2678401s"),
        (settings.rate, "10/10m/s"),
        (settings.rate, "10/10m\n"),
        (settings.rate, "\u0661/1m"),
        (settings.rate, "1/\u0661m"),
        (settings.rate, "9" * 5000 + "/1m"),
        (settings.rate, "1/" + "9" * 5000 + "d"),
        (settings.rate, "hunter2/10m"),
    ],
    ids=lambda value: getattr(value, "__name__", ascii(value)[:60]),
)
def test_bad_text_is_refused_and_never_repeated(kind: Callable[[str], Any], text: str) -> None:
    rule = broken_rule(kind, text)

    assert "hunter2" not in rule
    assert len(text) < 8 or text not in rule


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10/10s", 10), ("10/10m", 600), ("3/1h", 3600), ("1/31d", MAX_RATE_SECONDS), ("1/2678400s", 2_678_400)],
)
def test_rate_is_a_count_in_a_period(text: str, seconds: int) -> None:
    rate = settings.rate(text)

    assert (str(rate), rate.count, rate.seconds) == (text, int(text.partition("/")[0]), seconds)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql://u:[hunter2]@[db/users", id="brackets"),
        pytest.param("postgresql://u:hunter2\u2100@x@db/users", id="character that NFKC makes a slash"),
        pytest.param("postgresql://u:hunter2[/@db/users", id="one bracket"),
    ],
)
def test_password_that_a_parser_would_quote_is_never_repeated(url: str) -> None:
    assert "hunter2" not in broken_rule(settings.db_url, url)


@pytest.mark.parametrize(
    "url", ["mysql://u:p@db/users", "postgresql://u:p@ss@db/users", "postgresql://db:0/u"]
)
def test_bad_database_url_is_told_how_to_encode_a_password(url: str) -> None:
    rule = broken_rule(settings.db_url, url)

    (code,) = re.findall("python3 -c '(.+)'", rule)
    encoded = subprocess.run(
        [sys.executable, "-c", code.replace("getpass()", "input()")],
        input="a@b:c/%",
        capture_output=True,
        text=True,
    ).stdout
    assert encoded == "a%40b%3Ac%2F%25\n"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        pytest.param("postgresql+psycopg2://u:p@db/users", "leave out the +", id="SQLAlchemy's driver"),
        pytest.param(
            "postgresql://u:p@db/users?schema=public", "ALTER ROLE ... SET search_path", id="schema"
        ),
        pytest.param("postgres://u:p@db/users?sslmode=require&pgbouncer=1", "Prisma", id="Prisma"),
        pytest.param("postgresql://u:p@db/users?sslmode=no-verify", "no-verify is require", id="no-verify"),
    ],
)
def test_database_url_of_another_tool_is_told_what_to_leave_out(url: str, advice: str) -> None:
    assert advice in broken_rule(settings.db_url, url)


def test_bad_url_is_hidden_in_no_chained_error() -> None:
    with pytest.raises(ValueError, match=r"^must ") as caught:
        settings.db_url("postgresql://u:hunter2@db:port/users")

    printed = "".join(traceback.format_exception(None, caught.value, None))
    assert "hunter2" not in printed


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param("", "", id="empty"),
        pytest.param(" \r\n", "", id="nothing but blanks"),
        pytest.param('"', '"', id="one quote"),
        pytest.param("\"a'", "\"a'", id="quotes that differ"),
        pytest.param("' a '", "a", id="blanks between quotes"),
    ],
)
def test_blanks_and_quotes_around_a_text_are_no_part_of_it(raw: str, text: str) -> None:
    assert settings.bare(raw) == text
