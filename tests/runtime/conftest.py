"""A database for the tests of the way to PostgreSQL."""

from collections.abc import Iterator

import pytest

from db import Database
from tests.support.database import MakeDatabase, run_sql


@pytest.fixture(scope="module")
def url(make_database: MakeDatabase) -> str:
    """The URL of a database that the tests of one file share."""
    return make_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """The service's way to that database, with a pool of two connections."""
    database = Database(url, pool_size=2)
    yield database
    database.close()


@pytest.fixture
def notes(url: str) -> Iterator[str]:
    """The URL of that database, with an empty table `notes`."""
    run_sql(url, "CREATE TABLE notes (note text)")
    yield url
    run_sql(url, "DROP TABLE notes")


@pytest.fixture
def applied(make_database: MakeDatabase) -> str:
    """The URL of another database, which has all of schema.sql; every test gets its own."""
    url = make_database()
    Database(url).apply_schema()
    return url
