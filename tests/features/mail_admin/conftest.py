"""A service with mail on, its outbox, and the command."""

import json
from collections.abc import Callable

import pytest
from flask import Flask

from tests.support.actor import ClientOf
from tests.support.database import Sql
from tests.support.mails import mail_settings

Run = Callable[..., tuple[int, str]]
Queue = Callable[..., int]


@pytest.fixture
def service(client_of: ClientOf, sql: Sql) -> Flask:
    """A service with mail on, an empty outbox, and no sender that runs."""
    sql("DELETE FROM auth_outbox")
    return client_of(mail=mail_settings()).application


@pytest.fixture
def run(service: Flask) -> Run:
    """Run `flask --app app mail ...` and return its exit status and its output."""

    def run(*words: str, app: Flask = service) -> tuple[int, str]:
        result = app.test_cli_runner().invoke(args=["mail", *words])
        return result.exit_code, result.output

    return run


@pytest.fixture
def queue(sql: Sql) -> Queue:
    """Put a mail into the outbox as it is after some tries, and return its id.

    age, due_in: PostgreSQL's intervals.
    """

    def queue(
        kind: str = "verify_email",
        recipient: str = "ada@example.com",
        *,
        user_id: int | None = None,
        age: str = "0 s",
        tries: int = 0,
        due_in: str = "0 s",
        last_error: str = "",
        given_up: bool = False,
    ) -> int:
        ((mail_id,),) = sql(
            "INSERT INTO auth_outbox"
            " (kind, user_id, recipient, details, queued_at, due_at, tries, last_error, given_up)"
            " VALUES (%s, %s, %s, %s, now() - %s::INTERVAL, now() + %s::INTERVAL, %s, %s, %s) RETURNING id",
            *(kind, user_id, recipient, json.dumps({}), age, due_in, tries, last_error, given_up),
        )
        return int(mail_id)

    return queue
