"""Whom an error of PostgreSQL speaks of."""

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import connection

from runtime import faults
from runtime.faults import (
    Conflict,
    ConnectionLost,
    DatabaseUnavailable,
    OutOfResources,
    ReadOnly,
    ServerFault,
    StatementRefused,
)
from tests.support.database import MakeDatabase


@pytest.fixture(scope="module")
def conn(make_database: MakeDatabase) -> connection:
    return psycopg2.connect(make_database())


@pytest.mark.parametrize(
    ("code", "translation"),
    [
        ("22001", StatementRefused),  # string_data_right_truncation
        ("23505", StatementRefused),  # unique_violation
        ("40001", Conflict),
        ("40P01", Conflict),
        ("40003", DatabaseUnavailable),  # statement_completion_unknown: it was perhaps carried out
        ("0A000", StatementRefused),  # feature_not_supported
        ("42P01", StatementRefused),  # undefined_table
        ("P0001", StatementRefused),  # raise_exception, in a trigger
        ("55P03", DatabaseUnavailable),  # lock_not_available
        ("57014", DatabaseUnavailable),  # query_canceled, by statement_timeout
        ("08P01", ServerFault),
        ("25006", ReadOnly),
        ("53300", OutOfResources),
        ("57P01", ServerFault),
        ("57P03", ServerFault),
        ("58030", OutOfResources),
    ],
)
def test_error_of_the_server(conn: connection, code: str, translation: type[Exception]) -> None:
    with pytest.raises(errors.lookup(code)) as raised, conn.cursor() as cur:
        cur.execute(f"ROLLBACK; DO $$BEGIN RAISE SQLSTATE '{code}'; END$$")

    assert type(faults.translate(raised.value, closed=False)) is translation


@pytest.mark.parametrize(
    ("error", "translation"),
    [(psycopg2.OperationalError, ServerFault), (psycopg2.ProgrammingError, None), (psycopg2.DataError, None)],
)
def test_error_of_the_driver(error: type[psycopg2.Error], translation: type[Exception] | None) -> None:
    translated = faults.translate(error("no SQLSTATE"), closed=False)

    assert (type(translated) if translated else None) is translation


@pytest.mark.parametrize("error", [psycopg2.OperationalError, psycopg2.DatabaseError, psycopg2.DataError])
def test_error_that_ended_the_connection(error: type[psycopg2.Error]) -> None:
    assert type(faults.translate(error("closed"), closed=True)) is ConnectionLost
