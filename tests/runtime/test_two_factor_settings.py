"""The settings of the second factor: on by default, with a name that fits into a key URI."""

from typing import Any

import pytest

from config import ConfigError, Settings
from runtime.two_factor_settings import MAX_ISSUER_BYTES, TwoFactorSettings, issuer

REQUIRED = {
    "DB_URL": "postgresql://user:pw@db.example:5432/users",
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
}
ISSUER_RULE = "must be a name of printable characters without a colon, of 1 to 64 bytes in UTF-8"


def settings_of(**environ: str) -> Settings:
    return Settings.from_env(REQUIRED | environ)


def problems(**environ: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        settings_of(**environ)
    return caught.value.problems


def two_factor(**environ: str) -> TwoFactorSettings:
    settings = settings_of(**environ)
    assert settings.two_factor is not None
    assert settings.doubts == ()
    return settings.two_factor


@pytest.mark.parametrize("environ", [{}, {"TWO_FACTOR": ""}, {"TWO_FACTOR": "on"}], ids=str)
def test_second_factor_is_on_with_the_defaults_of_the_contract(environ: dict[str, str]) -> None:
    assert two_factor(**environ) == TwoFactorSettings(two_factor=True, totp_window=1, totp_issuer="Streamly")


@pytest.mark.parametrize("text", ["off", "0", "no", "False"])
def test_second_factor_can_be_switched_off(text: str) -> None:
    settings = settings_of(TWO_FACTOR=text)

    assert settings.two_factor is None
    assert settings.doubts == ()


def test_settings_made_by_hand_have_the_second_factor() -> None:
    assert Settings(db_url="", secret_key="").two_factor == TwoFactorSettings()


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("TWO_FACTOR", "perhaps", "must be 1 or 0, true or false, yes or no, on or off"),
        ("TWO_FACTOR", "2", "must be 1 or 0, true or false, yes or no, on or off"),
        ("TOTP_WINDOW", "3", "must be a whole number from 0 to 2"),
        ("TOTP_WINDOW", "-1", "must be a whole number from 0 to 2"),
        ("TOTP_WINDOW", "1.5", "must be a whole number from 0 to 2"),
        ("TOTP_WINDOW", "\u0661", "must be a whole number from 0 to 2"),
        ("TOTP_ISSUER", "Streamly: test", ISSUER_RULE),
        ("TOTP_ISSUER", "a" * 65, ISSUER_RULE),
        ("TOTP_ISSUER", "\u65e5" * 22, ISSUER_RULE),
        ("TOTP_ISSUER", "a\tb", ISSUER_RULE),
        ("TOTP_ISSUER", "a\x00b", ISSUER_RULE),
        ("TOTP_ISSUER", "a\nb", ISSUER_RULE),
        ("TOTP_ISSUER", "a\u202eb", ISSUER_RULE),
        ("TOTP_ISSUER", "a\udcffb", ISSUER_RULE),
    ],
)
def test_bad_value_is_refused_under_its_name(name: str, text: str, rule: str) -> None:
    assert problems(**{name: text}) == {name: rule}


@pytest.mark.parametrize(
    ("name", "text", "field", "expected"),
    [
        ("TOTP_WINDOW", "0", "totp_window", 0),
        ("TOTP_WINDOW", " 2\n", "totp_window", 2),
        ("TOTP_ISSUER", '"Caf\u00e9 & Sons"', "totp_issuer", "Caf\u00e9 & Sons"),
        ("TOTP_ISSUER", "a" * MAX_ISSUER_BYTES, "totp_issuer", "a" * 64),
        ("TOTP_ISSUER", "\u00e9" * 32, "totp_issuer", "\u00e9" * 32),
        ("TOTP_ISSUER", '" "', "totp_issuer", "Streamly"),
    ],
)
def test_good_value_is_read(name: str, text: str, field: str, expected: Any) -> None:
    assert getattr(two_factor(**{name: text}), field) == expected


def test_issuer_is_not_empty() -> None:
    with pytest.raises(ValueError, match="of 1 to 64 bytes"):
        issuer("")


@pytest.mark.parametrize("window", ["2", "3"], ids=["good", "bad"])
def test_value_without_the_second_factor_is_a_doubt(window: str) -> None:
    settings = settings_of(TWO_FACTOR="off", TOTP_WINDOW=window, TOTP_ISSUER="a:b")

    assert settings.two_factor is None
    assert settings.doubts == (
        "TOTP_WINDOW has no effect: TWO_FACTOR is off.",
        "TOTP_ISSUER has no effect: TWO_FACTOR is off.",
    )
