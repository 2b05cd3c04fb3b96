"""PATCH /api/auth/me of the email: it is pending until it is verified."""

from functools import partial

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support import PASSWORD
from tests.support.actor import TOKEN_INVALID, VALIDATION_FAILED, WRONG_PASSWORD, Actor, refusal
from tests.support.database import Sql
from tests.support.mails import letters, token_of
from tests.support.races import at_once, statuses
from tests.support.verification import (
    EMAIL_TAKEN,
    LINK_INVALID,
    OTHER,
    addresses,
    change_email,
    new_token,
    queued,
    verify,
)

THIRD = "ada@example.net"


@pytest.fixture
def ada(service: Flask, client: FlaskClient) -> Actor:
    """A user whose email is verified, with no mail that waits."""
    ada = Actor(client).register()
    verify(client, new_token(service))
    return ada


def test_new_email_is_pending_and_gets_the_link(service: Flask, ada: Actor, sql: Sql) -> None:
    before = ada.me().get_json()

    answer = change_email(ada)

    [letter] = letters(service)
    assert answer.status_code == 200
    assert answer.get_json() == before | {"pending_email": OTHER} == ada.me().get_json()
    assert (letter.kind, letter.recipient, letter.user.id) == ("verify_email", OTHER, ada.id)
    assert addresses(sql) == ("ada@example.com", "ada@example.com", OTHER)


def test_user_logs_in_with_the_former_email_until_the_new_one_is_verified(service: Flask, ada: Actor) -> None:
    change_email(ada)
    before = [ada.try_log_in(username=email).status_code for email in ("ada@example.com", OTHER)]

    verify(service.test_client(), new_token(service))

    after = [ada.try_log_in(username=email).status_code for email in ("ada@example.com", OTHER)]
    assert (before, after) == ([200, 401], [401, 200])


def test_verified_new_email_replaces_the_former_which_gets_a_notice(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    change_email(ada)
    before = ada.me().get_json()

    answer = verify(client, new_token(service))

    [notice] = letters(service)
    del before["pending_email"]
    assert answer.get_json() == before | {"email": OTHER} == ada.me().get_json()
    assert addresses(sql) == (OTHER, OTHER, None)
    assert (notice.kind, notice.recipient, notice.user.id) == ("email_changed", "ada@example.com", ada.id)
    assert notice.details.keys() == {"time", "ip", "device", "address", "was_verified"}
    assert (notice.details["address"], notice.details["was_verified"]) == (OTHER, "yes")
    assert notice.link == ""


def test_notice_to_a_former_address_tells_that_it_was_not_verified(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    sql("DELETE FROM auth_emails")
    change_email(ada)

    verify(client, new_token(service))

    [notice] = letters(service)
    assert notice.details["was_verified"] == ""


def test_verified_new_email_voids_every_other_link(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    """A link that went to the former address would reset the password."""
    sql(
        "INSERT INTO auth_one_time_tokens (token_hash, purpose, user_id, email, expires_at)"
        " VALUES ('hash', 'reset_password', %s, 'ada@example.com', '2100-01-01')",
        ada.id,
    )
    change_email(ada)

    verify(client, new_token(service))

    assert sql("SELECT purpose FROM auth_one_time_tokens") == []


def test_newer_pending_email_replaces_the_older_whose_link_is_void(
    service: Flask, client: FlaskClient, ada: Actor
) -> None:
    change_email(ada)
    older = new_token(service)

    answer = change_email(ada, THIRD)

    assert answer.get_json()["pending_email"] == THIRD
    assert refusal(verify(client, older)) == LINK_INVALID
    assert verify(client, new_token(service)).get_json()["email"] == THIRD


def test_link_to_an_older_pending_email_stays_void_when_it_is_pending_again(
    service: Flask, client: FlaskClient, ada: Actor
) -> None:
    change_email(ada)
    older = new_token(service)

    change_email(ada, THIRD)
    change_email(ada)

    assert refusal(verify(client, older)) == LINK_INVALID
    assert [letter.recipient for letter in letters(service)] == [OTHER]


def test_same_pending_email_again_sends_the_link_again(
    service: Flask, client: FlaskClient, ada: Actor
) -> None:
    change_email(ada)
    older = new_token(service)

    answer = change_email(ada, f" {OTHER.upper()} ")

    assert answer.get_json()["pending_email"] == OTHER
    assert refusal(verify(client, older)) == LINK_INVALID
    assert verify(client, new_token(service)).get_json()["email"] == OTHER


@pytest.mark.parametrize("fields", [{}, {"first_name": "Ada", "username": "ada"}], ids=["alone", "form"])
@pytest.mark.parametrize("email", ["ada@example.com", " ADA@Example.com"])
def test_present_email_ends_the_wait_without_a_password(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql, email: str, fields: dict[str, str]
) -> None:
    change_email(ada)
    token = new_token(service)

    answer = ada.change_profile(email=email, **fields)

    assert answer.status_code == 200
    assert answer.get_json() == ada.me().get_json()
    assert answer.get_json()["first_name"] == fields.get("first_name", "")
    assert addresses(sql) == ("ada@example.com", "ada@example.com", None)
    assert refusal(verify(client, token)) == LINK_INVALID


def test_present_email_drops_the_mail_that_waits(service: Flask, ada: Actor) -> None:
    change_email(ada)

    ada.change_profile(email="ada@example.com")

    assert letters(service) == []


@pytest.mark.parametrize("email", ["Old@Example.com", "root@localhost", " ada@example.com"])
def test_present_email_that_breaks_the_rules_of_today_is_no_change(ada: Actor, sql: Sql, email: str) -> None:
    sql("UPDATE users SET email = %s", email)

    answer = ada.change_profile(email=email, first_name="Ada")

    assert answer.status_code == 200
    assert addresses(sql) == (email, "ada@example.com", None)


def test_another_case_of_a_stored_email_is_another_address(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    """The part before the @ may have a case that counts at its mail server."""
    sql("UPDATE users SET email = 'Ada@Example.com'")

    answer = change_email(ada, "ada@example.com")

    assert answer.get_json()["pending_email"] == "ada@example.com"
    assert verify(client, new_token(service)).get_json()["email"] == "ada@example.com"
    assert addresses(sql) == ("ada@example.com", "ada@example.com", None)


def test_other_fields_change_at_once_in_the_same_transaction(ada: Actor, sql: Sql) -> None:
    answer = change_email(ada, username="countess", first_name="Ada", last_name="King")

    body = answer.get_json()
    assert (body["username"], body["first_name"], body["last_name"]) == ("countess", "Ada", "King")
    assert (body["email"], body["pending_email"]) == ("ada@example.com", OTHER)
    assert body == ada.me().get_json()
    assert addresses(sql, "countess") == ("ada@example.com", "ada@example.com", OTHER)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"email": "bob@example.com"}, EMAIL_TAKEN, id="email"),
        pytest.param({"email": "Bob@Example.com", "username": "countess"}, EMAIL_TAKEN, id="in another case"),
        pytest.param({"email": OTHER, "username": "bob"}, (409, "username_taken", None), id="username"),
        pytest.param({"current_password": WRONG_PASSWORD}, (403, "wrong_password", None), id="password"),
        pytest.param({"current_password": ""}, VALIDATION_FAILED, id="no password"),
        pytest.param({"email": "ada@localhost"}, VALIDATION_FAILED, id="no address"),
    ],
)
def test_refused_change_stores_and_queues_nothing(
    client: FlaskClient, ada: Actor, sql: Sql, fields: dict[str, str], expected: tuple[int, str, None]
) -> None:
    Actor(client, "bob").register()
    sql("DELETE FROM auth_outbox")

    answer = ada.change_profile(**{"email": OTHER, "current_password": PASSWORD} | fields)

    assert refusal(answer) == expected
    assert addresses(sql) == ("ada@example.com", "ada@example.com", None)
    assert queued(sql) == []


@pytest.mark.parametrize("email", [OTHER, "ada@example.com"], ids=["new", "present"])
def test_session_that_has_ended_changes_nothing(service: Flask, ada: Actor, sql: Sql, email: str) -> None:
    change_email(ada, THIRD)
    letters(service)
    ada.log_out()

    assert refusal(change_email(ada, email)) == TOKEN_INVALID
    assert addresses(sql) == ("ada@example.com", "ada@example.com", THIRD)
    assert queued(sql) == []


def test_address_that_is_taken_meanwhile_is_409_and_nothing_is_lost(
    service: Flask, client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    change_email(ada)
    token = new_token(service)
    bob = Actor(client, "bob").register(email=OTHER.upper())
    letters(service)

    refusals = [refusal(verify(client, token)) for _ in range(2)]

    assert refusals == [EMAIL_TAKEN] * 2
    assert addresses(sql) == ("ada@example.com", "ada@example.com", OTHER)
    assert queued(sql) == []
    bob.delete()
    assert verify(client, token).get_json()["email"] == OTHER


def test_two_users_may_wait_for_one_address_and_one_gets_it(
    service: Flask, client: FlaskClient, ada: Actor
) -> None:
    bob = Actor(client, "bob").register()
    change_email(ada)
    change_email(bob)
    tokens = [token_of(letter) for letter in letters(service) if letter.recipient == OTHER]

    answers = at_once(*[partial(verify, service.test_client(), token) for token in tokens])

    assert len(tokens) == 2
    assert statuses(answers) == {200: 1, 409: 1}


def test_of_two_changes_at_once_one_is_pending_and_its_link_alone_works(
    service: Flask, ada: Actor, sql: Sql
) -> None:
    for n in range(5):
        change_email(ada, f"before{n}@example.com")
        old = new_token(service)

        answers = at_once(
            *[
                partial(change_email, ada.through(service.test_client()), f"{name}{n}@example.com")
                for name in ("one", "two")
            ]
        )

        pending = (addresses(sql) or ())[2]
        [letter] = letters(service)
        assert statuses(answers) == {200: 2}
        assert pending in (f"one{n}@example.com", f"two{n}@example.com")
        assert letter.recipient == pending
        assert refusal(verify(service.test_client(), old)) == LINK_INVALID
        assert verify(service.test_client(), token_of(letter)).get_json()["email"] == pending
        letters(service)
