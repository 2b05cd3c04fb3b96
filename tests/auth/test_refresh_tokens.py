"""Refresh tokens: their text, what is stored of them, and what follows from them."""

import base64
import hashlib
import hmac
import re
from dataclasses import FrozenInstanceError

import pytest

from auth.tokens import refresh as refresh_tokens
from auth.tokens.refresh import RefreshToken

KEY = "a-key-for-tests-that-is-longer-than-32-bytes"
HANDLE = bytes(range(16))
SECRET = bytes(range(100, 132))
SALT = bytes(range(200, 232))
TOKEN = RefreshToken(HANDLE, SECRET)
TEXT = base64.urlsafe_b64encode(HANDLE + SECRET).decode()


def test_text_is_64_url_safe_characters() -> None:
    every_byte = [RefreshToken(bytes([n]) * 16, bytes([255 - n]) * 32) for n in range(256)]

    assert all(re.fullmatch("[A-Za-z0-9_-]{64}", token.text()) for token in every_byte)


def test_text_holds_all_256_bits_of_the_secret() -> None:
    assert base64.urlsafe_b64decode(TOKEN.text()) == HANDLE + SECRET
    assert len(SECRET) * 8 == 256


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(TOKEN, id="plain"),
        pytest.param(RefreshToken(b"\0" * 16, b"\0" * 32), id="zeros"),
        pytest.param(RefreshToken(b"\xff" * 16, b"\xff" * 32), id="ones, - and _ in the text"),
        pytest.param(RefreshToken(b"\xfb\xef\xbe" * 5 + b"\0", SECRET), id="only - in the text"),
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


def test_hashes_are_sha_256_of_the_handle_and_of_the_whole_text() -> None:
    assert TOKEN.selector_hash() == hashlib.sha256(HANDLE).digest()
    assert TOKEN.hash() == hashlib.sha256(TEXT.encode()).digest()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(RefreshToken(HANDLE, SECRET[:-1] + b"\0"), id="secret"),
        pytest.param(RefreshToken(HANDLE[:-1] + b"\0", SECRET), id="handle"),
    ],
)
def test_hash_differs_with_every_part(other: RefreshToken) -> None:
    assert other.hash() != TOKEN.hash()


def test_handle_hash_finds_every_token_of_a_session() -> None:
    assert RefreshToken(HANDLE, b"\0" * 32).selector_hash() == TOKEN.selector_hash()
    assert RefreshToken(b"\0" * 16, SECRET).selector_hash() != TOKEN.selector_hash()


def test_successor_is_the_same_every_time() -> None:
    assert TOKEN.successor(salt=SALT, key=KEY) == TOKEN.successor(salt=SALT, key=KEY)


def test_successor_keeps_the_handle_and_replaces_the_secret() -> None:
    successor = TOKEN.successor(salt=SALT, key=KEY)

    assert successor.handle == HANDLE
    assert len(successor.secret) == 32
    assert successor.secret != SECRET
    assert refresh_tokens.parse(successor.text()) == successor


@pytest.mark.parametrize(
    ("token", "salt", "key"),
    [
        pytest.param(RefreshToken(HANDLE, SECRET[:-1] + b"\0"), SALT, KEY, id="secret"),
        pytest.param(RefreshToken(HANDLE[:-1] + b"\0", SECRET), SALT, KEY, id="handle"),
        pytest.param(TOKEN, SALT[:-1] + b"\0", KEY, id="salt"),
        pytest.param(TOKEN, SALT, KEY + "x", id="key"),
    ],
)
def test_successor_needs_every_ingredient(token: RefreshToken, salt: bytes, key: str) -> None:
    assert token.successor(salt=salt, key=key).secret != TOKEN.successor(salt=SALT, key=KEY).secret


def test_successors_never_come_round() -> None:
    token, seen = TOKEN, {TOKEN.text()}
    for _ in range(1000):
        token = token.successor(salt=SALT, key=KEY)
        seen.add(token.text())

    assert len(seen) == 1001


def test_successor_is_no_signature_of_an_access_token() -> None:
    message = SALT + HANDLE + SECRET

    assert TOKEN.successor(salt=SALT, key=KEY).secret != hmac.digest(KEY.encode(), message, "sha256")


def test_token_does_not_show_its_parts() -> None:
    shown = repr(TOKEN) + str(TOKEN)

    assert repr(HANDLE) not in shown
    assert repr(SECRET) not in shown
    assert TEXT not in shown


def test_token_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        TOKEN.secret = b""  # type: ignore[misc]
