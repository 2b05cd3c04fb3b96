"""A change of the profile and the deletion of a user whose second factor is on."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from auth.mail.sender import Sender
from tests.support import PASSWORD
from tests.support.actor import ME, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings
from tests.support.notices import notices
from tests.support.rows import stored
from tests.support.second_factors import (
    WRONG_CODE,
    App,
    enrol,
    has_used_step,
    stored_factors,
    ticket_of,
    used_recovery_codes,
)
from tests.support.throttling import keys

CODE_INVALID = (403, "code_invalid", None)
NAMES = ["code", "recovery_code"]


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """The app of ada, whose second factor is on."""
    app = enrol(ada, sql)
    sql("DELETE FROM auth_outbox; DELETE FROM auth_throttle")
    return app


@pytest.fixture(params=["mail off", "mail on"])
def user(request: pytest.FixtureRequest, client_of: ClientOf, ada: Actor) -> Actor:
    """Ada, through a service without and one with mail."""
    return ada.through(client_of(mail=mail_settings())) if request.param == "mail on" else ada


def sent_code(phone: App, name: str) -> dict[str, str]:
    return {name: {"code": phone.code(), "recovery_code": phone.recovery_codes[0]}[name]}


def change(user: Actor, **fields: object) -> Any:
    return user.change_profile(current_password=PASSWORD, **fields)


@pytest.mark.parametrize("fields", [{"first_name": "Ada"}, {"lastName": "Lovelace"}, {"username": "ada"}])
def test_change_that_needs_no_password_asks_for_no_code(
    user: Actor, phone: App, sql: Sql, fields: dict[str, str]
) -> None:
    answers = [user.change_profile(**fields), change(user, code=WRONG_CODE, **fields)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert not has_used_step(sql)
    assert keys(sql) == []


def test_end_of_a_pending_address_asks_for_no_code(client_of: ClientOf, ada: Actor, phone: App) -> None:
    user = ada.through(client_of(mail=mail_settings()))
    pending = change(user, email="new@example.com", code=phone.code())

    answer = user.change_profile(email=ada.email)

    assert pending.get_json()["pending_email"] == "new@example.com"
    assert answer.status_code == 200
    assert "pending_email" not in answer.get_json()


@pytest.mark.parametrize("name", NAMES)
def test_email_takes_a_code(user: Actor, phone: App, sql: Sql, name: str) -> None:
    before = stored(sql)
    refused = [change(user, email="new@example.com"), change(user, email="new@example.com", code=WRONG_CODE)]
    unchanged = stored(sql), sql("SELECT * FROM auth_emails"), sql("SELECT * FROM auth_outbox")

    answer = change(user, email="new@example.com", **sent_code(phone, name))

    assert [refusal(each) for each in refused] == [CODE_INVALID] * 2
    assert unchanged == (before, [], [])
    assert answer.status_code == 200
    profile = answer.get_json()
    assert "new@example.com" in (profile["email"], profile.get("pending_email"))
    assert (has_used_step(sql), used_recovery_codes(sql)) == (name == "code", name != "code")


@pytest.mark.parametrize("fields", [{"email": "bob@example.com"}, {"username": "bob", "first_name": "B"}])
@pytest.mark.parametrize("name", NAMES)
def test_name_that_is_taken_uses_no_code_up(
    client: FlaskClient, user: Actor, phone: App, sql: Sql, fields: dict[str, str], name: str
) -> None:
    Actor(client, "bob").register()
    code, before = sent_code(phone, name), (stored(sql), stored_factors(sql))

    answer = change(user, **fields, **code)

    assert answer.status_code == 409
    assert (stored(sql), stored_factors(sql)) == before
    assert sql("SELECT * FROM auth_emails UNION ALL SELECT id, kind, recipient FROM auth_outbox") == []
    assert change(user, username="countess", **code).status_code == 200


def test_change_without_the_password_is_400_and_uses_no_code_up(user: Actor, phone: App, sql: Sql) -> None:
    answer = user.change_profile(username="countess", code=phone.code())

    assert answer.get_json()["fields"].keys() == {"current_password"}
    assert not has_used_step(sql)


@pytest.fixture
def older_table(ada: Actor, sql: Sql) -> Iterator[None]:
    """A table of an earlier version, in which a first name is NOT NULL."""
    sql("UPDATE users SET first_name = 'Ada'; ALTER TABLE users ALTER first_name SET NOT NULL")
    yield
    sql("ALTER TABLE users ALTER first_name DROP NOT NULL")


@pytest.mark.parametrize("name", NAMES)
def test_second_try_for_an_older_table_uses_one_code_up(
    user: Actor, phone: App, older_table: None, sql: Sql, name: str
) -> None:
    answer = change(user, username="countess", first_name=None, **sent_code(phone, name))

    assert answer.status_code == 200
    assert sql("SELECT username, first_name FROM users") == [("countess", "")]
    assert (has_used_step(sql), used_recovery_codes(sql)) == (name == "code", name != "code")


@pytest.mark.parametrize("fields", [{"username": "countess"}, {"email": "new@example.com"}])
@pytest.mark.parametrize("name", NAMES)
def test_sender_wakes_for_the_notice_of_a_recovery_code(
    client_of: ClientOf,
    ada: Actor,
    phone: App,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, str],
    name: str,
) -> None:
    user = ada.through(client_of(mail=mail_settings()))
    app, woken = user.client.application, []  # type: ignore[attr-defined]
    monkeypatch.setattr(Sender, "wake", lambda _: woken.append(notices(sql)))
    app.extensions["auth"] = replace(app.extensions["auth"], sender=Sender.__new__(Sender))

    assert change(user, **fields, **sent_code(phone, name)).status_code == 200

    told = [("recovery_code_used", ada.id, ada.email)] if name == "recovery_code" else []
    assert woken == ([told] if told or "email" in fields else [])
    assert len(letters(app)) == len(told) + ("email" in fields)


@pytest.mark.parametrize("name", NAMES)
def test_deletion_removes_every_row_and_budget_of_the_second_factor(
    user: Actor, phone: App, sql: Sql, name: str
) -> None:
    enrol(Actor(user.client, "bob").register(), sql)
    ticket_of(user)
    change(user, username="countess", code=WRONG_CODE)

    answer = user.send("DELETE", ME, {"password": PASSWORD} | sent_code(phone, name))

    assert (answer.status_code, answer.data) == (204, b"")
    assert sql("SELECT user_id FROM auth_second_factors") == [(2,)]
    assert sql("SELECT user_id FROM auth_tickets") == []
    assert [notice for notice in notices(sql) if notice[1] == user.id] == []
    assert keys(sql, "second factor 1 ") == []
    assert len(keys(sql, "second factor 2 ")) == 2


@pytest.fixture(params=["", "DEFERRABLE INITIALLY DEFERRED"], ids=["no action", "deferred"])
def stream(request: pytest.FixtureRequest, ada: Actor, sql: Sql) -> Iterator[None]:
    """A row of another service that refers to ada; the parameter ends its foreign key."""
    sql(f"CREATE TABLE streams (user_id INTEGER NOT NULL REFERENCES users (id) {request.param})")
    sql("INSERT INTO streams VALUES (%s)", ada.id)
    yield
    sql("DROP TABLE streams")


@pytest.mark.parametrize("name", NAMES)
def test_deletion_of_a_user_in_use_is_409_and_uses_no_code_up(
    user: Actor, phone: App, stream: None, sql: Sql, name: str
) -> None:
    code, before = sent_code(phone, name), (stored(sql), stored_factors(sql))

    answer = user.send("DELETE", ME, {"password": PASSWORD} | code)

    assert refusal(answer) == (409, "account_in_use", None)
    assert (stored(sql), stored_factors(sql)) == before
    sql("DELETE FROM streams")
    assert user.send("DELETE", ME, {"password": PASSWORD} | code).status_code == 204
