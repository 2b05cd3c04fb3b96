"""Services in processes of their own, users who call them, and a PostgreSQL that misbehaves.

`running` is gunicorn with production's settings, `workers` has two workers. `environ` may be overridden. A
module uses one of them: both register ada on the database of the module.
"""

import resource
from collections.abc import Iterator

import pytest

from tests.support import faulty_postgres, service
from tests.support.actor import Actor, HttpClient
from tests.support.database import run_sql
from tests.support.faulty_postgres import FaultyPostgres
from tests.support.races import NewUser, SessionCount, two_workers
from tests.support.raw_http import serving_ada


@pytest.fixture(scope="module")
def bcrypt_rounds() -> int:
    return 4


@pytest.fixture(scope="module")
def workers(
    url: str, bcrypt_rounds: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """A service with two workers on `url`."""
    log = tmp_path_factory.mktemp("service") / "log"
    with two_workers(log, url, bcrypt_rounds=bcrypt_rounds) as started:
        yield started


@pytest.fixture
def new_user(workers: service.Service, url: str) -> Iterator[NewUser]:
    """Register users, on a database that the test leaves empty."""
    yield lambda username: Actor(HttpClient(workers.url), username).register()
    run_sql(url, "DELETE FROM users")


@pytest.fixture
def ada(new_user: NewUser) -> Actor:
    return new_user("ada")


@pytest.fixture
def session_count(url: str) -> SessionCount:
    """Count the sessions of a user."""

    def count(user: Actor) -> int:
        rows = run_sql(url, "SELECT count(*) FROM auth_sessions WHERE user_id = %s", user.id)
        return int(rows[0][0])

    return count


@pytest.fixture(scope="module")
def environ(url: str) -> dict[str, str]:
    """The environment of `running`."""
    return {"DB_URL": url}


@pytest.fixture(scope="module")
def running(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """A service on which ada is registered."""
    with serving_ada(tmp_path_factory.mktemp("service") / "log", **environ) as started:
        yield started


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyPostgres]:
    """A PostgreSQL that a test may stop, freeze and fill."""
    with faulty_postgres.running(tmp_path_factory.mktemp("faulty")) as server:
        yield server


@pytest.fixture
def connections_at_once() -> Iterator[int]:
    """Raise the limit of open files, which is often 1024, and return how many connections it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = min(hard, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    yield min(1400, allowed - 300)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
