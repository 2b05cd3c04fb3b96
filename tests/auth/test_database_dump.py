"""Whoever reads a dump of the database gets no token, no password and no second factor from it."""

import base64
import hashlib
import itertools
from typing import Any

import pytest

from tests.support import PASSWORD
from tests.support.actor import Actor, ClientOf
from tests.support.database import Sql
from tests.support.rows import stored
from tests.support.second_factors import App, enrol, second_step, set_up, ticket_of
from tests.support.throttling import codes

SELECTOR_BYTES, VERIFIER_BYTES = 16, 32
TABLES = ("users", "auth_sessions", "auth_second_factors", "auth_tickets")


def values_of(sql: Sql) -> list[bytes]:
    """Return every value of TABLES as bytes, and those in a list each by itself."""
    rows = [row for table in TABLES for (row,) in sql(f"SELECT to_jsonb({table}) FROM {table}")]
    values = [value for row in rows for value in row.values()]
    values += [each for value in values if isinstance(value, list) for each in value]
    texts = [str(value) for value in values]
    return [bytes.fromhex(text[2:]) if text.startswith("\\x") else text.encode() for text in texts if text]


def dump_of(sql: Sql) -> str:
    """Return TABLES as text, with every value as it is, in hex and in both alphabets of base64."""
    lines = [row[0] for table in TABLES for row in sql(f"SELECT {table}::TEXT FROM {table}")]
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


def spellings(secret: bytes) -> list[str]:
    """Return a secret in Base32, hex, both alphabets of base64, and as it is."""
    return [
        base64.b32encode(secret).decode().rstrip("="),
        secret.hex(),
        secret.hex().upper(),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        secret.decode("latin-1"),
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


def test_dump_contains_no_second_factor(ada: Actor, sql: Sql) -> None:
    waiting = App.scanning(set_up(ada).get_json())
    dump_of_setup = dump_of(sql)
    app = enrol(ada)
    ticket = ticket_of(ada)

    dump = dump_of(sql)

    bare = [text for code in app.recovery_codes for text in (code, code.replace("-", ""))]
    texts = [*bare, *(text.upper() for text in bare), *(text[1:] for text in bare)]
    hashes = [hashlib.new(name, text.encode()).hexdigest() for text in texts for name in ("sha1", "sha256")]
    ticket_bytes = base64.urlsafe_b64decode(ticket + "=")
    secrets = [*spellings(app.secret), *texts, *hashes, ticket, *spellings(ticket_bytes)]
    assert sql("SELECT user_id FROM auth_tickets") == [(ada.id,)]
    assert not [secret for secret in secrets if secret in dump]
    assert not [secret for secret in spellings(waiting.secret) if secret in dump_of_setup]


def test_value_of_a_dump_is_no_ticket(ada: Actor, client_of: ClientOf, sql: Sql) -> None:
    app, client = enrol(ada, sql), client_of(rate_limits=False)
    ticket = ticket_of(ada)
    values = values_of(sql)
    candidates = [base64.urlsafe_b64encode(value).decode().rstrip("=") for value in values]
    candidates += [value.hex() for value in values] + [value.decode("latin-1") for value in values]

    answers = [second_step(client, each, code=app.code()) for each in candidates if "\0" not in each]

    assert len(answers) > 50
    assert set(codes(answers)) == {"ticket_invalid"}
    assert second_step(client, ticket, code=app.code()).status_code == 200


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
