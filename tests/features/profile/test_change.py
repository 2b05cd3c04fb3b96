"""PATCH /api/auth/me: what is changed, and for whom."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support import PASSWORD
from tests.support.access_tokens import claims_of
from tests.support.actor import VALIDATION_FAILED, WRONG_PASSWORD, Actor, refusal
from tests.support.database import Sql
from tests.support.rows import stored

COLUMNS = ["id", "username", "email", "first_name", "last_name", "password", "created_at"]
PASSWORDS = [
    pytest.param({}, id="no password"),
    pytest.param({"current_password": ""}, id="empty password"),
    pytest.param({"current_password": WRONG_PASSWORD}, id="wrong password"),
]
NO_PASSWORDS = [
    pytest.param({}, id="no password"),
    pytest.param({"current_password": ""}, id="empty password"),
    pytest.param({"current_password": None}, id="null password"),
]


def user_row(sql: Sql) -> dict[str, Any]:
    [row] = sql(f"SELECT {', '.join(COLUMNS)} FROM users")
    return dict(zip(COLUMNS, row, strict=True))


@pytest.mark.parametrize(
    ("sent", "changed"),
    [
        pytest.param({"username": "countess"}, {"username": "countess"}, id="username"),
        pytest.param({"username": " countess\n"}, {"username": "countess"}, id="username is stripped"),
        pytest.param({"username": "ADA"}, {"username": "ADA"}, id="username in another case"),
        pytest.param({"email": "new@example.com"}, {"email": "new@example.com"}, id="email"),
        pytest.param({"email": " New@Example.COM "}, {"email": "new@example.com"}, id="email is lower-cased"),
        pytest.param({"first_name": "Augusta"}, {"first_name": "Augusta"}, id="first name"),
        pytest.param({"last_name": "Byron"}, {"last_name": "Byron"}, id="last name"),
        pytest.param({"firstName": " Augusta "}, {"first_name": "Augusta"}, id="first name in camelCase"),
        pytest.param({"lastName": "Byron"}, {"last_name": "Byron"}, id="last name in camelCase"),
        pytest.param(
            {"first_name": "Snake", "firstName": "Camel", "lastName": "Camel", "last_name": "Snake"},
            {"first_name": "Snake", "last_name": "Snake"},
            id="both spellings, snake_case counts",
        ),
        pytest.param({"first_name": None, "firstName": "Camel"}, {"first_name": None}, id="null counts, too"),
        pytest.param({"first_name": None}, {"first_name": None}, id="null clears"),
        pytest.param({"last_name": ""}, {"last_name": None}, id="empty clears"),
        pytest.param({"lastName": None}, {"last_name": None}, id="null in camelCase clears"),
        pytest.param({"firstName": ""}, {"first_name": None}, id="empty in camelCase clears"),
        pytest.param({"last_name": " \t"}, {"last_name": None}, id="space clears"),
        pytest.param({"first_name": "x" * 100}, {"first_name": "x" * 100}, id="longest name"),
        pytest.param({"username": "x" * 50}, {"username": "x" * 50}, id="longest username"),
        pytest.param({}, {}, id="nothing"),
        pytest.param({"id": 9, "created_at": None, "password": "x"}, {}, id="unknown keys"),
        pytest.param(
            {"username": "countess", "email": "new@example.com", "firstName": "A", "last_name": "B"},
            {"username": "countess", "email": "new@example.com", "first_name": "A", "last_name": "B"},
            id="everything",
        ),
    ],
)
def test_patch_changes_what_was_sent_and_nothing_else(
    client: FlaskClient, sql: Sql, sent: dict[str, Any], changed: dict[str, Any]
) -> None:
    ada = Actor(client).register(first_name="Ada", last_name="King")
    before = user_row(sql)

    answer = ada.change_profile(current_password=PASSWORD, **sent)

    after = user_row(sql)
    assert answer.status_code == 200
    assert after == before | changed
    assert answer.get_json() == ada.me().get_json()
    assert answer.get_json()["first_name"] == (after["first_name"] or "")
    assert answer.get_json()["lastName"] == (after["last_name"] or "")


def test_patch_answers_with_the_user_object(client: FlaskClient) -> None:
    ada = Actor(client).register(first_name="Ada")

    answer = ada.change_profile(last_name="King")

    assert answer.get_json() == ada.pair["user"] | {"last_name": "King", "lastName": "King"}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({"first_name": "Augusta", "lastName": "Byron"}, id="names"),
        pytest.param({"username": "ada"}, id="same username"),
        pytest.param({"username": " ada "}, id="same username with space"),
        pytest.param({"email": "ada@example.com"}, id="same email"),
        pytest.param({"email": " ADA@Example.com "}, id="same email in another case"),
        pytest.param({"username": "ada", "email": "ada@example.com", "first_name": "A"}, id="whole form"),
        pytest.param({}, id="nothing"),
    ],
)
@pytest.mark.parametrize("password", PASSWORDS)
def test_patch_of_neither_username_nor_email_needs_no_password(
    ada: Actor, sent: dict[str, Any], password: dict[str, Any]
) -> None:
    answer = ada.change_profile(**sent, **password)

    assert answer.status_code == 200
    assert (answer.get_json()["username"], answer.get_json()["email"]) == ("ada", "ada@example.com")


@pytest.mark.parametrize("password", NO_PASSWORDS)
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({"username": "countess"}, id="username"),
        pytest.param({"username": "Ada"}, id="username in another case"),
        pytest.param({"email": "new@example.com"}, id="email"),
        pytest.param({"username": "ada", "email": "new@example.com", "first_name": "A"}, id="whole form"),
    ],
)
def test_patch_of_username_or_email_without_the_password_is_400(
    ada: Actor, sql: Sql, sent: dict[str, Any], password: dict[str, Any]
) -> None:
    before = stored(sql)

    answer = ada.change_profile(**sent, **password)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == {"current_password"}
    assert stored(sql) == before


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({"username": "countess"}, id="username"),
        pytest.param({"email": "new@example.com"}, id="email"),
        pytest.param({"username": "countess", "first_name": "A"}, id="and a name"),
        pytest.param({"username": "bob"}, id="username that is taken"),
    ],
)
def test_patch_with_a_wrong_password_is_403_and_stores_nothing(
    client: FlaskClient, ada: Actor, sql: Sql, sent: dict[str, Any]
) -> None:
    Actor(client, "bob").register()
    before = stored(sql)

    answer = ada.change_profile(current_password=WRONG_PASSWORD, **sent)

    assert refusal(answer) == (403, "wrong_password", None)
    assert answer.get_json()["error"] == "The current password is not right."
    assert stored(sql) == before


def test_patch_frees_the_old_username_and_email(client: FlaskClient, ada: Actor) -> None:
    ada.change_profile(current_password=PASSWORD, username="countess", email="new@example.com")

    newcomer = Actor(client).register()

    assert newcomer.pair["username"] == "ada"
    assert ada.try_log_in(username="countess").status_code == 200


def test_patch_of_the_email_ends_no_session(ada: Actor) -> None:
    phone = ada.elsewhere()

    ada.change_profile(current_password=PASSWORD, email="new@example.com")

    assert ada.me().get_json()["email"] == "new@example.com"
    assert phone.is_live()


def test_patch_of_the_email_is_in_the_next_access_token(ada: Actor) -> None:
    phone = ada.elsewhere()

    ada.change_profile(current_password=PASSWORD, email="new@example.com")

    assert claims_of(phone.refresh().token)["email"] == "new@example.com"


def test_patch_changes_only_the_caller(client: FlaskClient, ada: Actor, sql: Sql) -> None:
    Actor(client, "bob").register()
    before = sql("SELECT * FROM users WHERE username = 'bob'")

    ada.change_profile(current_password=PASSWORD, username="countess", first_name="A")

    assert len(before) == 1
    assert sql("SELECT * FROM users WHERE username = 'bob'") == before


def test_patch_leaves_an_unchanged_username_and_email_out_of_the_update(ada: Actor, sql: Sql) -> None:
    """Another request may have changed them since this one read them."""
    # Fires when the statement names the column, whatever the value.
    sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'named'; END$$")
    sql("CREATE TRIGGER named BEFORE UPDATE OF email, username ON users EXECUTE FUNCTION refuse()")
    try:
        answer = ada.change_profile(email="ada@example.com", username="ada", first_name="Ada")
    finally:
        sql("DROP FUNCTION refuse CASCADE")

    assert (answer.status_code, answer.get_json()["first_name"]) == (200, "Ada")
