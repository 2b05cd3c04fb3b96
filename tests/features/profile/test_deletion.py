"""DELETE /api/auth/me, also of a user to whom another service's rows refer."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from config import Settings
from tests.support import PASSWORD, SECRET_KEY
from tests.support.access_tokens import without_session
from tests.support.actor import (
    ME,
    REFRESH_INVALID,
    TOKEN_INVALID,
    VALIDATION_FAILED,
    WRONG_PASSWORD,
    Actor,
    refusal,
)
from tests.support.database import MakeDatabase, Sql, run_sql
from tests.support.rows import stored

ALL_ROWS = (
    "SELECT users::text FROM users UNION ALL SELECT auth_sessions::text FROM auth_sessions"
    " UNION ALL SELECT streams::text FROM streams ORDER BY 1"
)


def test_deletion_removes_the_user_and_every_session(ada: Actor, sql: Sql) -> None:
    answer = ada.elsewhere().delete()

    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert stored(sql) == []


def test_deletion_leaves_no_token_that_works(ada: Actor) -> None:
    devices = [ada, ada.elsewhere(), ada.elsewhere()]
    tokens = [without_session(ada.id), *(device.token for device in devices)]

    devices[1].delete()

    assert {refusal(ada.me(token)) for token in tokens} == {TOKEN_INVALID}
    assert {refusal(device.try_refresh()) for device in devices} == {REFRESH_INVALID}
    assert refusal(ada.try_log_in())[:2] == (401, "invalid_credentials")


def test_deletion_leaves_other_users_alone(client: FlaskClient, sql: Sql) -> None:
    bob = Actor(client, "bob").register()
    before = stored(sql)

    Actor(client).register().delete()

    assert stored(sql) == before
    assert bob.is_live()


def test_deletion_frees_the_username_and_the_email(client: FlaskClient, ada: Actor) -> None:
    ada.delete()

    newcomer = Actor(client).register()

    assert newcomer.id != ada.id
    assert not ada.is_live()


def test_deletion_with_a_token_without_session_succeeds(ada: Actor, sql: Sql) -> None:
    answer = ada.send("DELETE", ME, {"password": PASSWORD}, token=without_session(ada.id))

    assert answer.status_code == 204
    assert stored(sql) == []


def test_deletion_with_a_wrong_password_is_403_and_deletes_nothing(ada: Actor, sql: Sql) -> None:
    before = stored(sql)

    answer = ada.delete(WRONG_PASSWORD)

    assert refusal(answer) == (403, "wrong_password", None)
    assert answer.get_json()["error"] == "The current password is not right."
    assert stored(sql) == before
    assert ada.is_live()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"password": ""}, id="empty"),
        pytest.param({"password": None}, id="null"),
        pytest.param({"password": 7}, id="number"),
        pytest.param({"current_password": PASSWORD}, id="another field"),
    ],
)
def test_deletion_without_the_password_is_400(ada: Actor, sql: Sql, body: dict[str, Any]) -> None:
    before = stored(sql)

    answer = ada.send("DELETE", ME, body)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == {"password"}
    assert stored(sql) == before


@pytest.fixture(scope="module")
def shared_url(make_database: MakeDatabase) -> str:
    """The URL of a database that another service uses, too."""
    return make_database()


@pytest.fixture(scope="module")
def shared_client(shared_url: str) -> Iterator[FlaskClient]:
    app = create_app(Settings(db_url=shared_url, secret_key=SECRET_KEY, bcrypt_rounds=4))
    yield app.test_client()
    app.extensions["auth"].database.close()


@pytest.fixture
def streamer(shared_client: FlaskClient, shared_url: str, request: pytest.FixtureRequest) -> Iterator[Actor]:
    """A user with two sessions and a row in the other service's table; the parameter ends its foreign key."""
    foreign_key = f"user_id INTEGER NOT NULL REFERENCES users (id) {request.param}"
    run_sql(shared_url, f"CREATE TABLE streams ({foreign_key})")
    ada = Actor(shared_client).register()
    ada.elsewhere()
    run_sql(shared_url, "INSERT INTO streams (user_id) VALUES (%s)", ada.id)
    yield ada
    run_sql(shared_url, "DROP TABLE streams; DELETE FROM users")


@pytest.mark.parametrize(
    "streamer",
    [
        pytest.param("", id="no action"),
        pytest.param("ON DELETE RESTRICT", id="restrict"),
        pytest.param("DEFERRABLE INITIALLY DEFERRED", id="deferred"),
        pytest.param("ON DELETE SET NULL", id="set null where null is not allowed"),
    ],
    indirect=True,
)
def test_deletion_of_a_user_in_use_is_409_and_deletes_nothing(streamer: Actor, shared_url: str) -> None:
    before = run_sql(shared_url, ALL_ROWS)

    answer = streamer.delete()

    assert refusal(answer) == (409, "account_in_use", None)
    assert answer.get_json() == {
        "error": "The account cannot be deleted while other services still use it.",
        "code": "account_in_use",
    }
    assert len(before) == 4
    assert run_sql(shared_url, ALL_ROWS) == before
    assert streamer.is_live()
    assert streamer.try_refresh().status_code == 200


@pytest.mark.parametrize("streamer", [pytest.param("", id="no action")], indirect=True)
def test_deletion_once_the_user_is_out_of_use_succeeds(streamer: Actor, shared_url: str) -> None:
    assert streamer.delete().status_code == 409
    run_sql(shared_url, "DELETE FROM streams")

    answer = streamer.delete()

    assert answer.status_code == 204
    assert run_sql(shared_url, "SELECT id FROM auth_sessions") == []


@pytest.mark.parametrize("streamer", [pytest.param("ON DELETE CASCADE", id="cascade")], indirect=True)
def test_deletion_deletes_the_rows_that_cascade(streamer: Actor, shared_url: str) -> None:
    answer = streamer.delete()

    assert answer.status_code == 204
    assert run_sql(shared_url, "SELECT user_id FROM streams") == []
