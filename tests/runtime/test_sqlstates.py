"""Which exception of the service an SQLSTATE of PostgreSQL, or an error of the driver, becomes."""

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
    ("code", "exception"),
    [
        ("22001", StatementRefused),  # string_data_right_truncation
        ("23505", StatementRefused),  # unique_violation
        ("40001", Conflict),
        ("40P01", Conflict),
        (
            "40003",
            DatabaseUnavailable,
        ),  # statement_completion_unknown: nobody knows whether it was carried out
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
def test_error_of_the_server(conn: connection, code: str, exception: type[Exception]) -> None:
    with pytest.raises(errors.lookup(code)) as raised, conn.cursor() as cur:
        cur.execute(f"ROLLBACK; DO $$BEGIN RAISE SQLSTATE '{code}'; END$$")

    assert type(faults.translate(raised.value, closed=False)) is exception


@pytest.mark.parametrize(
    ("error", "exception"),
    [(psycopg2.OperationalError, ServerFault), (psycopg2.ProgrammingError, None), (psycopg2.DataError, None)],
)
def test_error_of_the_driver(error: type[psycopg2.Error], exception: type[Exception] | None) -> None:
    fault = faults.translate(error("no SQLSTATE"), closed=False)

    assert (type(fault) if fault else None) is exception


@pytest.mark.parametrize("error", [psycopg2.OperationalError, psycopg2.DatabaseError, psycopg2.DataError])
def test_error_that_ended_the_connection(error: type[psycopg2.Error]) -> None:
    assert type(faults.translate(error("closed"), closed=True)) is ConnectionLost
