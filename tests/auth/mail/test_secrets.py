"""The token of a link is in the mail alone: not in the database, not in the log."""

import base64
import logging
from typing import Any

import pytest

from tests.support.actor import Actor
from tests.support.database import Sql
from tests.support.outgoing import ADDRESS, Office, busy


def dump_of(sql: Sql) -> str:
    """Return every row of every table as text."""
    tables = [name for (name,) in sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert "auth_outbox" in tables
    return "\n".join(row for name in tables for (row,) in sql(f"SELECT whole::TEXT FROM {name} AS whole"))


def spellings_of(token: str) -> list[str]:
    raw = base64.urlsafe_b64decode(f"{token}=")
    return [token, raw.hex(), base64.b64encode(raw).decode().rstrip("="), token.encode().hex()]


@pytest.mark.parametrize("kind", ["verify_email", "reset_password"])
def test_token_is_neither_in_a_dump_nor_in_the_log(
    office: Office, ada: Actor, sql: Sql, kind: str, log_lines: list[dict[str, Any]]
) -> None:
    logging.getLogger().setLevel("DEBUG")
    dumps = []

    def look() -> None:
        dumps.append(dump_of(sql))

    office.post.before = look
    office.queue(kind, user_id=ada.id if kind == "verify_email" else None)
    for failure in [busy(), ZeroDivisionError(ADDRESS), None]:
        office.post.failures = [failure] if failure else []
        office.make_due()
        office.send_next()
        dumps.append(dump_of(sql))

    [token] = [text.partition("#token=")[2].split()[0] for text in office.post.texts()]
    assert len(token) == 43
    for spelling in spellings_of(token):
        assert spelling not in "\n".join(dumps)
        assert spelling not in str(log_lines)
    assert ADDRESS not in str([line for line in log_lines if line["logger"] == "mail"])


def test_each_try_makes_a_new_token_and_the_last_one_is_stored(office: Office, ada: Actor, sql: Sql) -> None:
    hashes = []
    office.post.before = lambda: hashes.extend(sql("SELECT token_hash::TEXT FROM auth_one_time_tokens"))
    office.post.failures = [busy(), busy()]
    office.queue("reset_password")

    for _ in range(3):
        office.make_due()
        office.send_next()

    assert len(set(hashes)) == 3
    assert sql("SELECT token_hash::TEXT FROM auth_one_time_tokens") == hashes[-1:]
