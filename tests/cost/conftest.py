"""A PostgreSQL that logs every statement."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev import postgres as embedded_postgres
from tests.support.database import on_database, run_sql
from tests.support.recorder import RecordedService


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RecordedService]]:
    """Make a recorded service with some settings on a new database of that name."""
    folder = tmp_path_factory.mktemp("logged")
    options = ("-c", "log_statement=all", "-c", "log_line_prefix=%a ")
    services = []

    with embedded_postgres.running(folder / "postgres", *options) as server:

        def make(name: str, **settings: Any) -> RecordedService:
            run_sql(server.url, f"CREATE DATABASE {name}")
            url = on_database(server.url, name)
            services.append(RecordedService(url, folder / "postgres.log", **settings))
            return services[-1]

        yield make
        for service in services:
            service.close()
