"""The refresh token: its text, the hashes that are stored of it, and its successor."""

import base64
import hashlib
import hmac
import re
from dataclasses import FrozenInstanceError

import pytest

from auth.tokens import refresh as refresh_tokens
from auth.tokens.refresh import RefreshToken
from tests.support import SECRET_KEY

SELECTOR = bytes(range(16))
VERIFIER = bytes(range(100, 132))
SALT = bytes(range(200, 232))
TOKEN = RefreshToken(SELECTOR, VERIFIER)
TEXT = base64.urlsafe_b64encode(SELECTOR + VERIFIER).decode()
OTHER_SELECTOR = RefreshToken(SELECTOR[:-1] + b"\0", VERIFIER)
OTHER_VERIFIER = RefreshToken(SELECTOR, VERIFIER[:-1] + b"\0")


def test_text_is_64_url_safe_characters() -> None:
    every_byte = [RefreshToken(bytes([n]) * 16, bytes([255 - n]) * 32) for n in range(256)]

    assert all(re.fullmatch("[A-Za-z0-9_-]{64}", token.text()) for token in every_byte)


def test_text_holds_all_256_bits_of_the_verifier() -> None:
    assert base64.urlsafe_b64decode(TOKEN.text()) == SELECTOR + VERIFIER
    assert len(VERIFIER) * 8 == 256


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(TOKEN, id="plain"),
        pytest.param(RefreshToken(b"\0" * 16, b"\0" * 32), id="zeros"),
        pytest.param(RefreshToken(b"\xff" * 16, b"\xff" * 32), id="ones, - and _ in the text"),
        pytest.param(RefreshToken(b"\xfb\xef\xbe" * 5 + b"\0", VERIFIER), id="only - in the text"),
    ],
)
def test_parse_returns_the_token_of_its_text(token: RefreshToken) -> None:
    assert refresh_tokens.parse(token.text()) == token


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(TEXT[:-1], id="cut"),
        pytest.param(TEXT[:-4], id="cut by three bytes"),
        pytest.param(TEXT + "A", id="one more"),
        pytest.param(TEXT + "AAAA", id="three bytes more"),
        pytest.param(TEXT + "\n", id="newline"),
        pytest.param(" " + TEXT[1:], id="space"),
        pytest.param(TEXT[:-1] + "=", id="padding"),
        pytest.param(TEXT[:-2] + "==", id="more padding"),
        pytest.param("=" + TEXT[1:], id="padding first"),
        pytest.param(TEXT[:-1] + ".", id="character of neither alphabet"),
        pytest.param(TEXT[:-1] + "\u00e9", id="character that is not ASCII"),
        pytest.param("\uff21" * 64, id="letters of full width"),
        pytest.param(TEXT * 1000, id="endless"),
    ],
)
def test_parse_of_what_is_no_token_is_none(text: str) -> None:
    assert refresh_tokens.parse(text) is None


def test_hashes_are_sha_256_of_the_selector_and_of_the_whole_text() -> None:
    assert TOKEN.selector_hash() == hashlib.sha256(SELECTOR).digest()
    assert TOKEN.hash() == hashlib.sha256(TEXT.encode()).digest()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(OTHER_VERIFIER, id="verifier"),
        pytest.param(OTHER_SELECTOR, id="selector"),
    ],
)
def test_hash_differs_with_each_part(other: RefreshToken) -> None:
    assert other.hash() != TOKEN.hash()


def test_selector_hash_finds_every_token_of_a_session() -> None:
    assert RefreshToken(SELECTOR, b"\0" * 32).selector_hash() == TOKEN.selector_hash()
    assert RefreshToken(b"\0" * 16, VERIFIER).selector_hash() != TOKEN.selector_hash()


def test_successor_is_the_same_every_time() -> None:
    assert TOKEN.successor(salt=SALT, key=SECRET_KEY) == TOKEN.successor(salt=SALT, key=SECRET_KEY)


def test_successor_keeps_the_selector_and_replaces_the_verifier() -> None:
    successor = TOKEN.successor(salt=SALT, key=SECRET_KEY)

    assert successor.selector == SELECTOR
    assert len(successor.verifier) == 32
    assert successor.verifier != VERIFIER
    assert refresh_tokens.parse(successor.text()) == successor


@pytest.mark.parametrize(
    ("token", "salt", "key"),
    [
        pytest.param(OTHER_VERIFIER, SALT, SECRET_KEY, id="verifier"),
        pytest.param(OTHER_SELECTOR, SALT, SECRET_KEY, id="selector"),
        pytest.param(TOKEN, SALT[:-1] + b"\0", SECRET_KEY, id="salt"),
        pytest.param(TOKEN, SALT, SECRET_KEY + "x", id="key"),
    ],
)
def test_successor_depends_on_each_ingredient(token: RefreshToken, salt: bytes, key: str) -> None:
    successor = TOKEN.successor(salt=SALT, key=SECRET_KEY)

    assert token.successor(salt=salt, key=key).verifier != successor.verifier


def test_successors_never_repeat() -> None:
    token, texts = TOKEN, {TOKEN.text()}
    for _ in range(1000):
        token = token.successor(salt=SALT, key=SECRET_KEY)
        texts.add(token.text())

    assert len(texts) == 1001


def test_successor_is_no_signature_of_an_access_token() -> None:
    signature = hmac.digest(SECRET_KEY.encode(), SALT + SELECTOR + VERIFIER, "sha256")

    assert TOKEN.successor(salt=SALT, key=SECRET_KEY).verifier != signature


def test_token_does_not_show_its_parts() -> None:
    shown = repr(TOKEN) + str(TOKEN)

    assert repr(SELECTOR) not in shown
    assert repr(VERIFIER) not in shown
    assert TEXT not in shown


def test_token_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        TOKEN.verifier = b""  # type: ignore[misc]


def test_new_refresh_token_is_random_in_both_parts() -> None:
    tokens = [refresh_tokens.new() for _ in range(100)]

    assert len({token.selector for token in tokens}) == 100
    assert len({token.verifier for token in tokens}) == 100
    assert {(len(token.selector), len(token.verifier)) for token in tokens} == {(16, 32)}
