"""A change and a reset of the password of a user whose second factor is on."""

import pytest
from flask.testing import FlaskClient

from auth.two_factor.verification import CODE_REQUIRED
from tests.support import PASSWORD
from tests.support.actor import NEW_PASSWORD, Actor, ClientOf, refusal
from tests.support.apps import fill_every_hash_slot
from tests.support.database import Sql
from tests.support.notices import notices
from tests.support.resets import new_token, reset
from tests.support.rows import stored
from tests.support.second_factors import (
    App,
    enrol,
    first_step,
    has_used_step,
    log_in,
    second_step,
    stored_factors,
    ticket_of,
    used_recovery_codes,
)

WEAK = [
    pytest.param({"new_password": "short"}, id="too short"),
    pytest.param({"new_password": PASSWORD}, id="the current one"),
    pytest.param({"new_password": "password1"}, id="common"),
    pytest.param({"new_password": "ada@example.com"}, id="the email"),
]


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """The app of ada, whose second factor is on."""
    return enrol(ada, sql)


def test_change_opens_a_session_and_keeps_the_factor_on(ada: Actor, phone: App, sql: Sql) -> None:
    other = ada.holding({})
    other.pair |= log_in(ada, phone.code(steps=-1)).get_json()

    answer = ada.change_password(code=phone.code())

    assert answer.status_code == 200
    assert not other.is_live()
    user = ada.holding(answer.get_json())
    assert user.me().get_json()["two_factor"] is True
    user.password = NEW_PASSWORD
    assert log_in(user, phone.code(steps=1)).status_code == 200


def test_change_makes_the_tickets_of_the_old_password_void(ada: Actor, phone: App) -> None:
    ticket = ticket_of(ada)

    assert ada.change_password(code=phone.code()).status_code == 200

    answer = second_step(ada.client, ticket, code=phone.code(steps=1))
    assert refusal(answer)[:2] == (401, "ticket_invalid")


@pytest.mark.parametrize("body", WEAK)
@pytest.mark.parametrize("name", ["code", "recovery_code"])
def test_refused_new_password_uses_no_code_up(
    ada: Actor, phone: App, sql: Sql, body: dict[str, str], name: str
) -> None:
    code = {"code": phone.code(), "recovery_code": phone.recovery_codes[0]}[name]
    before = stored(sql), stored_factors(sql)

    answer = ada.change_password(**body, **{name: code})

    assert answer.status_code == 400
    assert answer.get_json()["fields"].keys() == {"new_password"}
    assert (stored(sql), stored_factors(sql)) == before
    assert ada.change_password(**{name: code}).status_code == 200


def test_change_without_a_code_does_not_judge_the_new_password(ada: Actor, phone: App) -> None:
    answer = ada.change_password("password1")

    assert answer.get_json()["fields"] == {"code": CODE_REQUIRED}


def test_change_while_every_hash_slot_is_taken_uses_no_code_up(
    client_of: ClientOf, ada: Actor, phone: App, sql: Sql
) -> None:
    client = client_of()
    fill_every_hash_slot(client.application)

    answer = ada.through(client).change_password(code=phone.code())

    assert refusal(answer) == (503, "busy", None)
    assert not has_used_step(sql)


def test_reset_keeps_the_factor_on_and_logs_nobody_in(
    mailing: FlaskClient, ada: Actor, phone: App, sql: Sql
) -> None:
    before, ticket = stored_factors(sql), ticket_of(ada)

    answer = reset(mailing, new_token(mailing))

    assert (answer.status_code, answer.data) == (204, b"")
    assert stored_factors(sql) == before
    assert refusal(second_step(mailing, ticket, code=phone.code()))[:2] == (401, "ticket_invalid")
    user = ada.through(mailing)
    user.password = NEW_PASSWORD
    assert first_step(user).get_json()["code"] == "second_factor_required"
    assert log_in(user, phone.code()).status_code == 200


@pytest.mark.parametrize("name", ["code", "recovery_code"])
def test_change_mails_that_a_recovery_code_was_used(
    mailing: FlaskClient, ada: Actor, phone: App, sql: Sql, woken: list[str], name: str
) -> None:
    sql("DELETE FROM auth_outbox")
    code = {"code": phone.code(), "recovery_code": phone.recovery_codes[0]}[name]

    answer = ada.through(mailing).change_password(**{name: code})

    assert answer.status_code == 200
    kinds = [kind for kind, _, _ in notices(sql)]
    assert kinds == ["recovery_code_used"] * (name == "recovery_code") + ["password_changed"]
    assert used_recovery_codes(sql) == (name == "recovery_code")
    assert woken == ["woken"]
