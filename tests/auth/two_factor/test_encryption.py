"""The encryption of secrets: who can decrypt them, and the keys that are derived from SECRET_KEY."""

import hashlib
import hmac
import os

import pytest

from auth.two_factor import encryption
from auth.two_factor.encryption import RECOVERY_CODES, TOTP_SECRETS, Undecryptable, decrypt, derived_key
from tests.support import SECRET_KEY

SECRET = bytes(range(20))
NONCE = b"n" * encryption.NONCE_BYTES
TAG_BYTES = 16
PURPOSES = [TOTP_SECRETS, RECOVERY_CODES]
ENCRYPTED = encryption.encrypt(SECRET, user_id=7, secret_key=SECRET_KEY, nonce=NONCE)


def hkdf_sha256(key_material: bytes, info: bytes) -> bytes:
    """Return the first block of HKDF without a salt (RFC 5869 section 2)."""
    pseudorandom_key = hmac.new(b"\0" * hashlib.sha256().digest_size, key_material, "sha256").digest()
    return hmac.new(pseudorandom_key, info + b"\1", "sha256").digest()


def test_secret_is_decrypted_for_its_user() -> None:
    assert decrypt(ENCRYPTED, user_id=7, secret_key=SECRET_KEY) == SECRET


def test_encrypted_secret_is_nonce_ciphertext_and_tag() -> None:
    assert ENCRYPTED.startswith(NONCE)
    assert len(ENCRYPTED) == len(NONCE) + len(SECRET) + TAG_BYTES
    assert SECRET not in ENCRYPTED


def test_nonce_makes_each_ciphertext_different() -> None:
    nonces = [os.urandom(encryption.NONCE_BYTES) for _ in range(20)]

    ciphertexts = {
        encryption.encrypt(SECRET, user_id=7, secret_key=SECRET_KEY, nonce=nonce)[encryption.NONCE_BYTES :]
        for nonce in nonces
    }

    assert len(ciphertexts) == 20


@pytest.mark.parametrize(
    ("user_id", "secret_key"),
    [
        pytest.param(8, SECRET_KEY, id="another user"),
        pytest.param(70, SECRET_KEY, id="a user whose id begins so"),
        pytest.param(7, SECRET_KEY + "x", id="another SECRET_KEY"),
    ],
)
def test_nobody_else_decrypts_a_secret(user_id: int, secret_key: str) -> None:
    with pytest.raises(Undecryptable):
        decrypt(ENCRYPTED, user_id=user_id, secret_key=secret_key)


@pytest.mark.parametrize("length", range(len(ENCRYPTED)))
def test_secret_that_is_cut_off_is_undecryptable(length: int) -> None:
    with pytest.raises(Undecryptable):
        decrypt(ENCRYPTED[:length], user_id=7, secret_key=SECRET_KEY)


def test_secret_with_more_behind_it_is_undecryptable() -> None:
    with pytest.raises(Undecryptable):
        decrypt(ENCRYPTED + b"\0", user_id=7, secret_key=SECRET_KEY)


@pytest.mark.parametrize("place", range(len(ENCRYPTED)))
def test_secret_with_a_flipped_bit_is_undecryptable(place: int) -> None:
    flipped = bytearray(ENCRYPTED)
    flipped[place] ^= 1

    with pytest.raises(Undecryptable):
        decrypt(bytes(flipped), user_id=7, secret_key=SECRET_KEY)


def test_error_tells_nothing_of_the_secret() -> None:
    with pytest.raises(Undecryptable) as caught:
        decrypt(ENCRYPTED, user_id=8, secret_key=SECRET_KEY)

    assert caught.value.args == ()
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("purpose", "info"),
    [
        pytest.param(TOTP_SECRETS, b"user-service totp secrets", id="secrets"),
        pytest.param(RECOVERY_CODES, b"user-service recovery codes", id="recovery codes"),
    ],
)
@pytest.mark.parametrize("secret_key", [SECRET_KEY, "schl\u00fcssel " * 20], ids=["ASCII", "long, not ASCII"])
def test_derived_key_is_that_of_rfc_5869(purpose: str, info: bytes, secret_key: str) -> None:
    assert derived_key(secret_key, purpose) == hkdf_sha256(secret_key.encode(), info)


def test_each_purpose_and_each_secret_key_has_a_key_of_its_own() -> None:
    secret_keys = [SECRET_KEY, SECRET_KEY + "x", "k" * encryption.KEY_BYTES]

    keys = [derived_key(secret_key, purpose) for secret_key in secret_keys for purpose in PURPOSES]

    assert len({*keys, *(secret_key.encode() for secret_key in secret_keys)}) == 9
    assert {len(key) for key in keys} == {encryption.KEY_BYTES}
