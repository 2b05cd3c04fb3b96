"""gunicorn with two workers, and users who call it, every call on a connection of its own."""

from collections.abc import Iterator

import pytest

from tests.support import service
from tests.support.actor import Actor, HttpClient
from tests.support.database import MakeDatabase, run_sql
from tests.support.races import NewUser, SessionCount, two_workers


@pytest.fixture(scope="module")
def bcrypt_rounds() -> int:
    return 4


@pytest.fixture(scope="module")
def database_url(make_database: MakeDatabase) -> str:
    return make_database()


@pytest.fixture(scope="module")
def workers(
    database_url: str, bcrypt_rounds: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """A service with two workers on `database_url`."""
    log = tmp_path_factory.mktemp("service") / "log"
    with two_workers(log, database_url, bcrypt_rounds=bcrypt_rounds) as started:
        yield started


@pytest.fixture
def new_user(workers: service.Service, database_url: str) -> Iterator[NewUser]:
    """Register users, on a database that the test leaves empty."""
    yield lambda username: Actor(HttpClient(workers.url), username).register()
    run_sql(database_url, "DELETE FROM users")


@pytest.fixture
def ada(new_user: NewUser) -> Actor:
    return new_user("ada")


@pytest.fixture
def session_count(database_url: str) -> SessionCount:
    """Count the sessions of a user."""

    def count(user: Actor) -> int:
        rows = run_sql(database_url, "SELECT count(*) FROM auth_sessions WHERE user_id = %s", user.id)
        return int(rows[0][0])

    return count
