"""The fixtures of all tests: a real PostgreSQL, scratch databases on it, and the app with bcrypt at cost 4.

Every answer that a test client receives is compared with openapi.yaml.
"""

import json
import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2 import sql as sql_text
from werkzeug.test import TestResponse

from app import create_app
from config import Settings
from db import Database
from dev import postgres as embedded_postgres
from dev import postgres_binaries
from dev.postgres import _make as make_data
from runtime import logs
from runtime.log_limit import LogLimit
from tests.support import ROOT, SECRET_KEY, contract
from tests.support.actor import Actor, ClientOf
from tests.support.apps import NO_DATABASE, app_on, app_without_hash_slots
from tests.support.database import MakeDatabase, Sql, connected, copy_data, on_database, run_sql
from tests.support.mails import mail_settings
from tests.support.outgoing import Office, office_of

# They compare times or load the machine, so that `make test` runs them without others beside them.
ALONE = {
    *("tests/cost/test_common_passwords.py", "tests/cost/test_costs.py", "tests/cost/test_growth.py"),
    *("tests/system/test_fault_consistency.py", "tests/system/test_faults.py"),
    *("tests/system/test_forgot_timing.py", "tests/system/test_hostile_clients.py"),
    *("tests/system/test_login_storm.py", "tests/system/test_slow_clients.py"),
    *("tests/system/test_throttling_attack.py", "tests/system/test_throttling_faults.py"),
    *("tests/system/test_throttling_timing.py", "tests/system/test_worker_limits.py"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of ALONE."""
    for item in items:
        if item.path.relative_to(ROOT).as_posix() in ALONE:
            item.add_marker("alone")


@pytest.fixture(scope="session", autouse=True)
def answers_keep_the_contract() -> Iterator[None]:
    """Fail a test whose client receives an answer that openapi.yaml does not describe."""
    unchecked = FlaskClient.open

    def checked(self: FlaskClient, *args: Any, **kwargs: Any) -> TestResponse:
        answer = unchecked(self, *args, **kwargs)
        if "auth" in self.application.extensions:
            contract.require_described(answer)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlaskClient, "open", checked)
        yield


@pytest.fixture(scope="session", autouse=True)
def databases() -> Iterator[WeakSet[Database]]:
    """Every Database that the tests make in this process."""
    instances: WeakSet[Database] = WeakSet()
    initialise = Database.__init__

    def initialise_and_add(self: Database, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        instances.add(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "__init__", initialise_and_add)
        yield instances


@pytest.fixture(scope="module", autouse=True)
def idle_connections_are_closed(databases: WeakSet[Database]) -> Iterator[None]:
    """Close idle connections after each module: an ordinary user may open no more than 1024 files."""
    yield
    for database in databases:
        database.close()


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of PostgreSQL that is fit to be copied."""
    folder = tmp_path_factory.mktemp("data") / "postgres"
    make_data(folder, postgres_binaries.find(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def data_folders_are_copies(request: pytest.FixtureRequest) -> Iterator[None]:
    """Copy a data folder for each PostgreSQL that a test runs in this process: initdb takes much longer."""
    usual = next(postgres_binaries._places(), None)

    def copy(data: Path, binaries: Path) -> None:
        if binaries == usual:
            copy_data(request.getfixturevalue("data_folder"), data)
        else:
            make_data(data, binaries)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded_postgres, "_make", copy)
        yield


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on which the tests may create databases: TEST_DATABASE_URL, or else an embedded one."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    folder = tmp_path_factory.mktemp("embedded")
    with embedded_postgres.running(folder / "postgres", "-c", "max_connections=300") as server:
        yield server.url
        os.kill(server.pid, signal.SIGQUIT)  # ends at once, without a checkpoint of what nobody needs
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def make_database(postgres_url: str) -> Iterator[MakeDatabase]:
    """Create an empty database and return its URL. It is dropped when the tests end.

    options: of CREATE DATABASE. The database that TEST_DATABASE_URL names is never touched.
    """
    names = []

    def make(options: str = "TEMPLATE template0 ENCODING 'UTF8'") -> str:
        name = f"user_service_test_{secrets.token_hex(6)}"
        run_sql(postgres_url, f"CREATE DATABASE {name} {options}")
        names.append(name)
        return on_database(postgres_url, name)

    yield make
    if "TEST_DATABASE_URL" not in os.environ:
        return  # the server is removed as a whole, which takes no checkpoint for each database
    for name in names:
        drop = sql_text.SQL("DROP DATABASE {} WITH (FORCE)").format(sql_text.Identifier(name))
        run_sql(postgres_url, drop)  # type: ignore[arg-type]


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


@pytest.fixture(scope="session")
def settings(make_database: MakeDatabase) -> Settings:
    return Settings(db_url=make_database(), secret_key=SECRET_KEY, bcrypt_rounds=4)


@pytest.fixture(scope="session")
def session_app(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    app.extensions["auth"].database.close()


@pytest.fixture(scope="session")
def sql(settings: Settings) -> Iterator[Sql]:
    """Run a statement on the app's database, without the app, on a connection that all tests share."""
    with connected(settings.db_url) as run:
        yield run


@pytest.fixture
def app(session_app: Flask, sql: Sql) -> Flask:
    """The app on an empty database. No limit of log lines is used up."""
    auth = session_app.extensions["auth"]
    for owner, name in ((auth.throttle, "_refusals"), (auth.second_factor, "_undecryptable")):
        vars(owner)[name] = LogLimit()
    sql(
        "DELETE FROM users; DELETE FROM auth_throttle; DELETE FROM auth_outbox;"
        " ALTER SEQUENCE users_id_seq RESTART; ALTER SEQUENCE auth_sessions_id_seq RESTART"
    )
    return session_app


@pytest.fixture(scope="session")
def mail_app(settings: Settings) -> Iterator[Flask]:
    """The app with mail on. Its thread that sends is not started."""
    app = create_app(replace(settings, mail=mail_settings()))
    yield app
    app.extensions["auth"].database.close()


@pytest.fixture
def office(app: Flask, mail_app: Flask, sql: Sql) -> Office:
    """The outbox of an empty database."""
    return office_of(mail_app, sql)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def client_of(app: Flask, settings: Settings) -> Iterator[ClientOf]:
    """Make a client of a service with other settings on the same database."""
    apps = []

    def make(**changes: Any) -> FlaskClient:
        apps.append(create_app(replace(settings, **changes)))
        return apps[-1].test_client()

    yield make
    for other in apps:
        other.extensions["auth"].database.close()


@pytest.fixture(scope="session")
def client_of_a_broken_row(make_database: MakeDatabase) -> Iterator[FlaskClient]:
    """A client of a service that fails to read ada's row: Python has no date after the year 9999."""
    url = make_database()
    app = app_on(url)
    Actor(app.test_client()).register()
    run_sql(url, "UPDATE users SET created_at = '20000-01-01'")
    yield app.test_client()
    app.extensions["auth"].database.close()


@pytest.fixture(scope="session")
def client_without_database() -> FlaskClient:
    return app_on(NO_DATABASE).test_client()


@pytest.fixture(scope="session")
def client_without_hash_slots(make_database: MakeDatabase) -> Iterator[FlaskClient]:
    app = app_without_hash_slots(make_database())
    yield app.test_client()
    app.extensions["auth"].database.close()


@pytest.fixture
def ada(client: FlaskClient) -> Actor:
    """A registered user, without first and last name."""
    return Actor(client).register()


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The decoded log lines of the test. Later lines appear in the same list."""
    lines: list[dict[str, Any]] = []
    logs.configure("INFO")
    monkeypatch.setattr(logs, "write", lambda line: lines.append(json.loads(line)))
    return lines
