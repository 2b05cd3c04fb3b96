"""A database with an empty table of budgets."""

import pytest

from db import Database
from tests.support.database import Sql, run_sql


@pytest.fixture(scope="module", autouse=True)
def schema(url: str) -> None:
    database = Database(url)
    database.apply_schema()
    database.close()


@pytest.fixture
def sql(url: str) -> Sql:
    run_sql(url, "DELETE FROM auth_throttle")
    return lambda statement, *parameters: run_sql(url, statement, *parameters)
