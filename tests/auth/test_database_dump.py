"""Whoever reads a dump of the database gets no token and no password from it."""

import base64
import itertools
from typing import Any

import pytest

from tests.support import PASSWORD
from tests.support.actor import Actor, ClientOf
from tests.support.database import Sql
from tests.support.rows import stored

SELECTOR_BYTES, VERIFIER_BYTES = 16, 32


def values_of(sql: Sql) -> list[bytes]:
    """Return every value of both tables as bytes."""
    rows = sql("SELECT to_jsonb(users) FROM users") + sql("SELECT to_jsonb(auth_sessions) FROM auth_sessions")
    texts = [str(value) for (row,) in rows for value in row.values()]
    return [bytes.fromhex(text[2:]) if text.startswith("\\x") else text.encode() for text in texts if text]


def dump_of(sql: Sql) -> str:
    """Return both tables as text, with every value as it is, in hex and in both alphabets of base64."""
    lines = [row[0] for row in stored(sql)]
    for value in values_of(sql):
        lines += [value.decode("latin-1"), value.hex(), value.hex().upper()]
        lines += [base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode()]
    return "\n".join(lines)


def spellings_of(refresh_token: str) -> list[str]:
    """Return the token, both of its parts, and each of them in hex and base64."""
    raw = base64.urlsafe_b64decode(refresh_token)
    parts = (raw, raw[:SELECTOR_BYTES], raw[SELECTOR_BYTES:])
    return [
        refresh_token,
        *(part.hex() for part in parts),
        *(base64.b64encode(part).decode().rstrip("=") for part in parts),
    ]


@pytest.fixture
def pairs(ada: Actor) -> list[dict[str, Any]]:
    """Every pair of two sessions, one of which was refreshed twice."""
    phone = ada.elsewhere()
    return [ada.pair, phone.pair, phone.refresh().pair, phone.refresh().pair]


def test_dump_contains_no_secret(pairs: list[dict[str, Any]], sql: Sql) -> None:
    dump = dump_of(sql)

    secrets = [PASSWORD]
    for pair in pairs:
        signature = pair["token"].rpartition(".")[2]
        secrets += [pair["token"], signature, *spellings_of(pair["refresh_token"])]
    assert not [secret for secret in secrets if secret in dump]


def test_value_of_a_dump_is_no_refresh_token(
    ada: Actor, client_of: ClientOf, pairs: list[dict[str, Any]], sql: Sql
) -> None:
    ada = ada.through(client_of(rate_limits=False))
    values = values_of(sql)
    parts = {
        value[at : at + SELECTOR_BYTES] for value in values for at in range(0, len(value), SELECTOR_BYTES)
    }
    selectors = {part for part in parts if len(part) == SELECTOR_BYTES}
    verifiers = {value for value in values if len(value) == VERIFIER_BYTES}
    candidates = {base64.urlsafe_b64encode(value).decode() for value in values}
    candidates |= {value.hex() for value in values} | {value.decode("latin-1") for value in values}
    candidates |= {
        base64.urlsafe_b64encode(selector + verifier).decode()
        for selector, verifier in itertools.product(selectors, verifiers)
    }
    before = stored(sql)

    answers = [ada.try_refresh(candidate) for candidate in candidates if "\0" not in candidate]

    assert len(answers) > 50
    assert {answer.status_code for answer in answers} == {401}
    assert stored(sql) == before
    assert ada.try_refresh(pairs[-1]["refresh_token"]).status_code == 200


def test_hashes_of_a_dump_are_those_of_random_secrets(pairs: list[dict[str, Any]], sql: Sql) -> None:
    """A fast hash is enough for 256 random bits."""
    lengths = sql("SELECT DISTINCT length(handle_hash), length(token_hash) FROM auth_sessions")

    secrets = {base64.urlsafe_b64decode(pair["refresh_token"])[SELECTOR_BYTES:] for pair in pairs}
    assert lengths == [(32, 32)]
    assert len(secrets) == 4
