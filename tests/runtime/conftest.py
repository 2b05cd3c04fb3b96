"""A database that has all of schema.sql."""

import pytest

from db import Database
from tests.support.database import MakeDatabase


@pytest.fixture
def applied(make_database: MakeDatabase) -> str:
    """The URL of a database that has all of schema.sql; every test gets its own."""
    url = make_database()
    Database(url).apply_schema()
    return url
