"""GET /api/auth/me: the user object."""

import time

import pytest
from flask.testing import FlaskClient

from app import create_app
from config import Settings
from tests.support import SECRET_KEY
from tests.support.access_tokens import without_session
from tests.support.actor import TOKEN_INVALID, Actor, refusal
from tests.support.database import MakeDatabase, Sql, run_sql

CREATED_AT = "2026-01-02 03:04:05.678901"
NAMES = ("first_name", "last_name", "firstName", "lastName")


def actor_on(url: str) -> Actor:
    """Return a user who is not registered yet, of a service on that database."""
    app = create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4))
    return Actor(app.test_client())


def test_me_is_the_user_at_the_top_level(client: FlaskClient, sql: Sql) -> None:
    ada = Actor(client).register(username="Ada", first_name="Ada", last_name="King")
    sql("UPDATE users SET created_at = %s", CREATED_AT)

    answer = ada.me()

    assert answer.status_code == 200
    assert answer.get_json() == {
        "id": 1,
        "username": "Ada",
        "email": "ada@example.com",
        "email_verified": False,
        "two_factor": False,
        "first_name": "Ada",
        "last_name": "King",
        "created_at": "2026-01-02T03:04:05.678Z",
        "firstName": "Ada",
        "lastName": "King",
        "createdAt": "2026-01-02T03:04:05.678Z",
    }


def test_me_shows_absent_names_as_empty_strings(ada: Actor) -> None:
    body = ada.me().get_json()

    assert [body[name] for name in NAMES] == [""] * 4


def test_me_equals_the_user_of_registration_and_login(client: FlaskClient) -> None:
    ada = Actor(client).register(firstName="Ada")
    registered, logged_in = ada.pair["user"], ada.log_in().pair["user"]

    body = ada.me().get_json()

    assert body == registered == logged_in


def test_me_is_the_owner_of_the_token(client: FlaskClient, ada: Actor) -> None:
    bob = Actor(client, "bob").register()

    usernames = [user.me().get_json()["username"] for user in (ada, bob)]

    assert usernames == ["ada", "bob"]


def test_me_shows_the_row_as_it_is_now(ada: Actor, sql: Sql) -> None:
    sql("UPDATE users SET email = 'new@example.com', first_name = 'Augusta'")

    body = ada.me().get_json()

    assert (body["email"], body["firstName"]) == ("new@example.com", "Augusta")


def test_me_of_a_deleted_user_is_401(ada: Actor, sql: Sql, log_lines: list[dict[str, object]]) -> None:
    sql("DELETE FROM users")

    answer = ada.me()

    assert refusal(answer) == TOKEN_INVALID
    assert "session_over user_id=1 session_id=1" in [line["message"] for line in log_lines]


def test_me_without_a_creation_time_shows_null(ada: Actor, sql: Sql) -> None:
    sql("UPDATE users SET created_at = NULL")

    body = ada.me().get_json()

    assert (body["created_at"], body["createdAt"]) == (None, None)


def test_me_converts_an_aware_creation_time_to_utc(make_database: MakeDatabase) -> None:
    url = make_database()
    stranger = actor_on(url)
    run_sql(url, "ALTER TABLE users ALTER created_at TYPE TIMESTAMPTZ")
    run_sql(
        url,
        "INSERT INTO users (username, email, password, created_at) VALUES ('a', 'a@x.io', '-', %s)",
        "2026-01-02 03:04:05+05:30",
    )

    body = stranger.me(without_session(1)).get_json()

    assert body["createdAt"] == body["created_at"] == "2026-01-01T21:34:05.000Z"


@pytest.mark.parametrize("column", ["TIMESTAMP", "TIMESTAMPTZ"])
def test_creation_time_is_in_utc_in_any_time_zone_of_the_database(
    make_database: MakeDatabase, column: str
) -> None:
    url = make_database()
    name = url.partition("?")[0].rpartition("/")[2]
    run_sql(url, f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'")
    ada = actor_on(url)
    run_sql(url, f"ALTER TABLE users ALTER created_at TYPE {column}")
    before = time.time()

    created_at = ada.register().pair["user"]["createdAt"]

    minutes = [time.strftime("%Y-%m-%dT%H:%M", time.gmtime(before + later)) for later in (0, 60)]
    assert created_at.endswith("Z")
    assert created_at[:16] in minutes
