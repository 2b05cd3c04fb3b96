"""Failures in the database: what the client is told, and what the log."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import cursor

from runtime.faults import StatementRefused
from tests.support import PASSWORD
from tests.support.actor import LOGIN
from tests.support.apps import app_on
from tests.support.database import MakeDatabase, run_sql
from tests.support.registrations import ADA


def test_pool_without_a_free_connection_is_503_busy(client: FlaskClient) -> None:
    auth = client.application.extensions["auth"]
    database, size = auth.database, auth.settings.db_pool_size
    held, finish = threading.Semaphore(0), threading.Event()

    def hold(_: cursor) -> None:
        held.release()
        finish.wait(10)

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(database.read, hold) for _ in range(size)]
        in_use = [held.acquire(timeout=10) for _ in futures]

        answer = client.post(LOGIN, json=ADA)

        finish.set()
    assert all(in_use)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "busy")


def test_unavailable_database_is_logged_without_its_password(
    client_without_database: FlaskClient, log_lines: list[dict[str, Any]]
) -> None:
    client_without_database.post(LOGIN, json=ADA)

    messages = [line["message"] for line in log_lines if line["level"] == "ERROR"]
    assert len(messages) == 1
    assert messages[0].startswith("database_unavailable: cannot connect")
    assert "hunter2" not in str(log_lines)


def test_statement_that_postgresql_refuses_is_500_without_its_text(make_database: MakeDatabase) -> None:
    url = make_database()
    client = app_on(url).test_client()
    run_sql(url, "ALTER TABLE users DROP COLUMN first_name")

    answer = client.post(LOGIN, json=ADA)

    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert "first_name" not in answer.text


def test_login_that_the_databases_encoding_cannot_hold_is_401(make_database: MakeDatabase) -> None:
    url = make_database("TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    client = app_on(url).test_client()

    answer = client.post(LOGIN, json={"username": "\u0142ucja", "password": PASSWORD})

    assert (answer.status_code, answer.get_json()["code"]) == (401, "invalid_credentials")


def test_error_of_the_data_is_not_taken_for_one_of_the_database(client: FlaskClient) -> None:
    database = client.application.extensions["auth"].database

    def divide(cur: cursor) -> None:
        cur.execute("SELECT 1 / 0")

    with pytest.raises(StatementRefused, match="sqlstate=22012: division by zero"):
        database.read(divide)
