"""Declared settings: reading them, required ones, and optional groups."""

from dataclasses import dataclass

import pytest

from runtime.declarations import Computed, ConfigError, declarations, optional_group, read, setting, unused
from runtime.settings import WholeNumber, switch


@dataclass(frozen=True)
class MailSettings:
    smtp_url: str = setting(str, secret=True, help="The mail server.")
    mail_from: str = setting(str, help="The sender of every mail.")
    retries: int = setting(WholeNumber(1, 9), name="MAIL_RETRIES", default=3, help="Tries of one mail.")
    strict: bool = setting(switch, name="MAIL_STRICT", default=False, rule=True, help="A rule.")


@dataclass(frozen=True)
class SampleSettings:
    key: str = setting(str, group="Basics", secret=True, exact=True, help="The key.")
    size: int = setting(
        WholeNumber(1, 9), group="Basics", default=Computed(lambda: 4, "half"), help="A size."
    )
    debug: bool = setting(switch, group="Basics", name="FLASK_DEBUG", default=False, help="The debugger.")
    mail: MailSettings | None = optional_group("Mail", MailSettings, switch="SMTP_URL")
    seen: tuple[str, ...] = ()  # no setting


@dataclass(frozen=True)
class CodeSettings:
    window: int = setting(WholeNumber(0, 2), name="CODE_WINDOW", default=1, help="Steps around now.")
    codes: bool = setting(switch, default=True, help="Whether there are codes.")
    strict: bool = setting(switch, name="CODE_STRICT", default=False, rule=True, help="A rule.")


@dataclass(frozen=True)
class SettingsWithCodes:
    codes: CodeSettings | None = optional_group("Codes", CodeSettings, switch="CODES")


@dataclass(frozen=True)
class OptInSettings:
    is_on: bool = setting(switch, name="OPT_IN", default=False, help="Whether it is on.")


@dataclass(frozen=True)
class SettingsWithOptIn:
    opt_in: OptInSettings | None = optional_group("Opt-in", OptInSettings, switch="OPT_IN")


MAIL = {"SMTP_URL": "smtp://mail.example", "MAIL_FROM": "ada@example.com"}


def sample(**environ: str) -> SampleSettings:
    values, problems = read(SampleSettings, {"KEY": "k"} | environ)
    assert problems == {}
    return SampleSettings(**values)


def problems(**environ: str) -> dict[str, str]:
    return read(SampleSettings, {"KEY": "k"} | environ)[1]


def test_variable_is_the_name_of_the_field_in_capitals_unless_another_is_declared() -> None:
    names = {declaration.field: declaration.variable for declaration in declarations(SampleSettings)}

    assert names == {
        "key": "KEY",
        "size": "SIZE",
        "debug": "FLASK_DEBUG",
        "smtp_url": "SMTP_URL",
        "mail_from": "MAIL_FROM",
        "retries": "MAIL_RETRIES",
        "strict": "MAIL_STRICT",
    }


def test_settings_of_an_optional_group_belong_to_its_title() -> None:
    groups = [declaration.group for declaration in declarations(SampleSettings)]

    assert groups == ["Basics"] * 3 + ["Mail"] * 4


def test_unset_settings_have_their_defaults() -> None:
    assert sample() == SampleSettings(key="k", size=4, debug=False, mail=None)


def test_set_values_are_parsed() -> None:
    assert sample(SIZE=" 2\n", FLASK_DEBUG="on") == SampleSettings(key="k", size=2, debug=True)


def test_exact_setting_keeps_what_is_around_its_text() -> None:
    assert sample(KEY='"k"\n').key == '"k"\n'


@pytest.mark.parametrize("text", ["", " ", '""\n'])
def test_required_setting_that_is_blank_is_a_problem(text: str) -> None:
    assert problems(KEY=text) == {"KEY": "is required"}


def test_every_problem_is_reported_in_the_order_of_the_declarations() -> None:
    environ = {
        "MAIL_RETRIES": "0",
        "SMTP_URL": "smtp://mail.example",
        "FLASK_DEBUG": "x",
        "SIZE": "0",
        "KEY": "",
    }

    assert list(problems(**environ)) == ["KEY", "SIZE", "FLASK_DEBUG", "MAIL_FROM", "MAIL_RETRIES"]


def test_group_of_which_nothing_is_set_is_none() -> None:
    assert sample(MAIL_RETRIES=" ").mail is None


@pytest.mark.parametrize("retries", ["5", "0"], ids=["good", "bad"])
def test_value_in_a_group_that_is_off_is_ignored_and_told(retries: str) -> None:
    environ = {"MAIL_RETRIES": retries, "MAIL_FROM": "ada@example.com", "SMTP_URL": '" "\n'}

    assert sample(**environ).mail is None
    assert unused(SampleSettings, environ) == [
        "MAIL_FROM has no effect: SMTP_URL is not set.",
        "MAIL_RETRIES has no effect: SMTP_URL is not set.",
    ]


def test_every_value_of_a_group_that_is_on_has_an_effect() -> None:
    assert unused(SampleSettings, MAIL | {"MAIL_RETRIES": "5", "SIZE": "2"}) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("on", {"MAIL_STRICT": "has no effect without SMTP_URL"}, id="on"),
        pytest.param("perhaps", {"MAIL_STRICT": "has no effect without SMTP_URL"}, id="bad"),
        pytest.param("off", {}, id="as its default"),
        pytest.param(" ", {}, id="unset"),
    ],
)
def test_rule_of_a_group_that_is_off_is_a_problem(text: str, expected: dict[str, str]) -> None:
    assert problems(MAIL_STRICT=text) == expected


def test_group_of_which_nothing_is_set_is_not_told() -> None:
    assert unused(SampleSettings, {"MAIL_RETRIES": " ", "SIZE": "2"}) == []


def test_group_with_its_required_settings_is_read() -> None:
    assert sample(**MAIL, MAIL_RETRIES="5").mail == MailSettings(
        smtp_url="smtp://mail.example", mail_from="ada@example.com", retries=5
    )


def test_group_with_its_required_settings_has_defaults() -> None:
    mail = sample(**MAIL).mail

    assert mail is not None
    assert mail.retries == 3


def test_group_that_is_on_names_what_is_missing() -> None:
    assert problems(SMTP_URL="smtp://mail.example") == {"MAIL_FROM": "is required with SMTP_URL"}


def test_bad_value_of_a_group_that_is_on_is_a_problem() -> None:
    assert problems(**MAIL, MAIL_RETRIES="0") == {"MAIL_RETRIES": "must be a whole number from 1 to 9"}


def with_codes(**environ: str) -> SettingsWithCodes:
    values, problems = read(SettingsWithCodes, environ)
    assert problems == {}
    return SettingsWithCodes(**values)


def test_group_that_is_on_by_default_has_its_defaults() -> None:
    assert SettingsWithCodes().codes == CodeSettings(window=1, codes=True, strict=False)


@pytest.mark.parametrize("text", ["", " ", '""\n', "on", "1", '"yes"'])
def test_group_that_is_on_by_default_is_on_unless_it_is_switched_off(text: str) -> None:
    assert with_codes(CODES=text, CODE_WINDOW="2").codes == CodeSettings(window=2)


@pytest.mark.parametrize("text", ["off", "0", "FALSE", " no\n", '"off"'])
def test_group_that_is_switched_off_is_none(text: str) -> None:
    assert with_codes(CODES=text).codes is None


@pytest.mark.parametrize("window", ["2", "1", "3"], ids=["good", "as its default", "bad"])
def test_value_in_a_group_that_is_switched_off_is_ignored_and_told(window: str) -> None:
    environ = {"CODES": "off", "CODE_WINDOW": window}

    assert with_codes(**environ).codes is None
    assert unused(SettingsWithCodes, environ) == ["CODE_WINDOW has no effect: CODES is off."]


@pytest.mark.parametrize("text", ["off", "on", ""])
def test_switch_itself_always_has_an_effect(text: str) -> None:
    assert unused(SettingsWithCodes, {"CODES": text}) == []


def test_every_value_of_a_group_that_is_on_by_default_has_an_effect() -> None:
    assert unused(SettingsWithCodes, {"CODE_WINDOW": "2", "CODE_STRICT": "on"}) == []


def test_bad_switch_is_a_problem_and_hides_no_other() -> None:
    _, problems = read(SettingsWithCodes, {"CODES": "perhaps", "CODE_WINDOW": "3"})

    assert problems == {
        "CODE_WINDOW": "must be a whole number from 0 to 2",
        "CODES": "must be 1 or 0, true or false, yes or no, on or off",
    }


def test_rule_of_a_group_that_is_switched_off_is_a_problem() -> None:
    _, problems = read(SettingsWithCodes, {"CODES": "off", "CODE_STRICT": "on"})

    assert problems == {"CODE_STRICT": "has no effect without CODES"}


@pytest.mark.parametrize(("text", "expected"), [("", None), ("off", None), ("on", OptInSettings(is_on=True))])
def test_group_whose_switch_is_off_by_default_is_on_when_it_is_switched_on(
    text: str, expected: OptInSettings | None
) -> None:
    values, problems = read(SettingsWithOptIn, {"OPT_IN": text})

    assert (values, problems) == ({"opt_in": expected}, {})
    assert SettingsWithOptIn().opt_in is None


def test_required_switch_means_on_whatever_its_value_is() -> None:
    @dataclass(frozen=True)
    class Pool:
        size: int = setting(WholeNumber(0, 9), name="POOL_SIZE", help="A size.")

    @dataclass(frozen=True)
    class SettingsWithPool:
        pool: Pool | None = optional_group("Pool", Pool, switch="POOL_SIZE")

    assert read(SettingsWithPool, {"POOL_SIZE": "0"})[0] == {"pool": Pool(0)}
    assert SettingsWithPool().pool is None


def test_secrets_are_not_shown_in_a_group_either() -> None:
    text = repr(sample(KEY="hunter2", SMTP_URL="smtp://u:hunter2@mail", MAIL_FROM="ada@example.com"))

    assert "ada@example.com" in text
    assert "hunter2" not in text


def test_error_is_one_sentence_with_every_problem_and_the_doubts() -> None:
    error = ConfigError({"A": "is required", "B": "must be 1"}, ["C is unknown."])

    assert error.message == "The service cannot start: A is required; B must be 1. C is unknown."
    assert error.problems == {"A": "is required", "B": "must be 1"}
