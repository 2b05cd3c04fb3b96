"""Recovery codes: how they look, how they may be typed, and what is stored of them."""

import hmac
import math
import re
import secrets

import pytest

from auth.two_factor import recovery_codes
from auth.two_factor.recovery_codes import ALPHABET, RecoveryCode, parse

CODE = RecoveryCode("3k7qx2m9d201")
KEY = b"k" * 32


def test_code_has_the_bits_of_the_contract() -> None:
    assert len(set(ALPHABET)) == len(ALPHABET) == 32
    assert recovery_codes.RANDOM_CHARACTERS * math.log2(len(ALPHABET)) == 55


def test_alphabet_has_no_letter_that_looks_like_another_character() -> None:
    assert set(ALPHABET).isdisjoint("oilu")
    assert not re.search("[A-Z]", ALPHABET)


def test_every_character_behind_the_index_is_chosen() -> None:
    asked = []

    def choose(characters: str) -> str:
        asked.append(characters)
        return characters[len(asked) % len(characters)]

    codes = recovery_codes.new(choose)

    assert asked == [ALPHABET] * 10 * 11
    assert "".join(code.text[1:] for code in codes) == "".join(ALPHABET[n % 32] for n in range(1, 111))


def test_there_is_one_code_for_each_index() -> None:
    codes = recovery_codes.new(secrets.choice)

    assert [code.index for code in codes] == list(range(10))
    assert len({code.text[1:] for code in codes}) == 10


def test_code_is_shown_in_two_groups_that_begin_with_the_index() -> None:
    for code in recovery_codes.new(secrets.choice):
        assert re.fullmatch(rf"{code.index}[{ALPHABET}]{{5}}-[{ALPHABET}]{{6}}", code.shown())


def test_shown_codes_are_read_back() -> None:
    codes = recovery_codes.new(secrets.choice)

    assert [parse(code.shown()) for code in codes] == codes


def test_code_is_left_out_of_its_repr() -> None:
    assert "k7qx2" not in repr(CODE)


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param("3k7qx2-m9d201", id="as shown"),
        pytest.param("3K7QX2-M9D201", id="capitals"),
        pytest.param("3k7qx2m9d201", id="no hyphen"),
        pytest.param("3k7 qx2 - m9d 201", id="blanks"),
        pytest.param("\t3k7qx2\u00a0m9d201\r\n", id="no-break space, line end"),
        pytest.param("3k7qx2\u2013m9d201", id="en dash"),
        pytest.param("3k7qx2\u2212m9d201", id="minus sign"),
        pytest.param("\u200b3k7qx2\u00ad-m9d201\ufeff", id="invisible characters"),
        pytest.param("3k7qx2-m9d2Ol", id="O and l"),
        pytest.param("3k7qx2-m9d2oI", id="o and I"),
        pytest.param("3k7qx2-m9d20i", id="i"),
        pytest.param("3k7qx2-m9d20L", id="L"),
        pytest.param("3k7qx2-m9d201" + " " * 51, id="as long as can be"),
    ],
)
def test_code_may_be_typed_in_several_ways(typed: str) -> None:
    assert parse(typed) == CODE


@pytest.mark.parametrize("letter", "oOiIlL")
def test_letter_that_looks_like_a_digit_is_an_index_too(letter: str) -> None:
    code = parse(f"{letter}k7qx2-m9d2pt")

    assert code is not None
    assert code.index == (0 if letter in "oO" else 1)


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param("", id="empty"),
        pytest.param(" - ", id="blanks and hyphens alone"),
        pytest.param("3k7qx2-m9d20", id="one character less"),
        pytest.param("3k7qx2-m9d2011", id="one character more"),
        pytest.param("3k7qx2-m9d201 3k7qx2-m9d201", id="twice"),
        pytest.param("kk7qx2-m9d201", id="no index"),
        pytest.param("uk7qx2-m9d201", id="u as index"),
        pytest.param("3u7qx2-m9d201", id="u"),
        pytest.param("\u0663k7qx2-m9d201", id="Arabic digit as index"),
        pytest.param("\u00b3k7qx2-m9d201", id="superscript as index"),
        pytest.param("\uff13k7qx2-m9d201", id="full width digit as index"),
        pytest.param("3k7qx2-m9d20\u0661", id="Arabic digit"),
        pytest.param("3k7q\u04452-m9d201", id="Cyrillic letter"),
        pytest.param("3k7q\uff582-m9d201", id="full width letter"),
        pytest.param("3k7qx2-m9d2\u00df", id="sharp s"),
        pytest.param("3k7qx2-m9d201" + " " * 51 + "x", id="more behind many blanks"),
        pytest.param("3k7qx2-m9d201" + "-" * 1_000_000, id="huge"),
    ],
)
def test_other_text_is_no_code(typed: str) -> None:
    assert parse(typed) is None


def test_hash_is_an_hmac_of_the_user_and_the_code() -> None:
    expected = hmac.new(KEY, b"7 3k7qx2m9d201", "sha256").digest()

    assert CODE.hash(user_id=7, key=KEY) == expected


@pytest.mark.parametrize(
    ("code", "user_id", "key"),
    [
        pytest.param(CODE, 8, KEY, id="another user"),
        pytest.param(CODE, 7, b"K" * 32, id="another key"),
        pytest.param(RecoveryCode("4k7qx2m9d201"), 7, KEY, id="another index"),
        pytest.param(RecoveryCode("3k7qx2m9d202"), 7, KEY, id="another code"),
    ],
)
def test_hash_belongs_to_one_user_one_key_and_one_code(code: RecoveryCode, user_id: int, key: bytes) -> None:
    assert code.hash(user_id=user_id, key=key) != CODE.hash(user_id=7, key=KEY)
