"""What the service says when it starts: which settings are insecure."""

from typing import Any

import pytest

from config import Settings
from ops.startup import insecure_settings

KEY = "0123456789abcdef0123456789abcdef"


def settings_with(**changes: Any) -> Settings:
    values = {"db_url": "postgresql://user:pw@localhost/users", "secret_key": KEY} | changes
    return Settings(**values)


def test_good_settings_warn_of_nothing() -> None:
    assert insecure_settings(settings_with()) == []


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
    warnings = insecure_settings(settings_with(**changes))

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
    (warning,) = insecure_settings(settings_with(secret_key=around.format(KEY)))

    assert warning.startswith("SECRET_KEY begins or ends with a line end")
    assert KEY not in warning


def test_sample_key_with_a_line_end_is_still_a_sample() -> None:
    warnings = insecure_settings(settings_with(secret_key="change-me\n"))

    assert any("sample value" in warning for warning in warnings)
