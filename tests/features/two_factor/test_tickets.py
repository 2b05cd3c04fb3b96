"""Which tickets finish a login: the live ones of a user, as long as what was proved still holds."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.tokens.one_time import Owner
from auth.two_factor.verification import ProvedCode, SecondFactor
from tests.support import PASSWORD
from tests.support.actor import NEW_PASSWORD, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.mails import mail_settings
from tests.support.resets import reset, stored_token
from tests.support.rows import session_ids
from tests.support.second_factors import (
    WRONG_CODE,
    App,
    disable,
    enrol,
    forget_steps,
    second_step,
    ticket_of,
)
from tests.support.throttling import ELSEWHERE, client_at, keys

TICKET_INVALID = (401, "ticket_invalid", "Bearer")
CODE_INVALID = (401, "code_invalid", "Bearer")

Change = Callable[[Actor, App, Sql, ClientOf], None]


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """Ada's authenticator app, whose second factor is in force."""
    return enrol(ada, sql)


def change_password(ada: Actor, phone: App, _sql: Sql, _client_of: ClientOf) -> None:
    assert ada.change_password(recovery_code=phone.recovery_codes[0]).status_code == 200
    ada.password = NEW_PASSWORD


def reset_password(ada: Actor, _phone: App, _sql: Sql, client_of: ClientOf) -> None:
    mailing = client_of(mail=mail_settings())
    token = stored_token(mailing, Owner(ada.id, ada.email))
    assert reset(mailing, token).status_code == 204
    ada.password = NEW_PASSWORD


def disable_second_factor(ada: Actor, phone: App, _sql: Sql, _client_of: ClientOf) -> None:
    assert disable(ada, recovery_code=phone.recovery_codes[0]).status_code == 204


def reset_second_factor(ada: Actor, _phone: App, _sql: Sql, _client_of: ClientOf) -> None:
    application = ada.client.application  # type: ignore[attr-defined]
    result = application.test_cli_runner().invoke(args=["user", "reset-2fa", "ada"])
    assert result.exit_code == 0, result.output


def delete_user(ada: Actor, _phone: App, sql: Sql, _client_of: ClientOf) -> None:
    sql("DELETE FROM users WHERE id = %s", ada.id)


def expire(_ada: Actor, _phone: App, sql: Sql, _client_of: ClientOf) -> None:
    sql("UPDATE auth_tickets SET expires_at = now()")


@pytest.mark.parametrize(
    "change",
    [expire, change_password, reset_password, disable_second_factor, reset_second_factor, delete_user],
)
def test_ticket_is_void_after(ada: Actor, phone: App, sql: Sql, client_of: ClientOf, change: Change) -> None:
    ticket = ticket_of(ada)
    change(ada, phone, sql, client_of)
    before = session_ids(sql)

    answer = second_step(ada.client, ticket, code=phone.code())

    assert refusal(answer) == TICKET_INVALID
    assert "Set-Cookie" not in answer.headers
    assert session_ids(sql) == before


@pytest.mark.parametrize("change", [change_password, reset_password])
def test_new_password_gives_a_new_ticket(
    ada: Actor, phone: App, sql: Sql, client_of: ClientOf, change: Change
) -> None:
    change(ada, phone, sql, client_of)

    assert second_step(ada.client, ticket_of(ada), code=phone.code()).status_code == 200


@pytest.mark.parametrize("change", [disable_second_factor, reset_second_factor])
def test_ticket_of_an_earlier_second_factor_stays_void(
    ada: Actor, phone: App, sql: Sql, client_of: ClientOf, change: Change
) -> None:
    ticket = ticket_of(ada)
    change(ada, phone, sql, client_of)
    assert ada.try_log_in().status_code == 200
    newer = enrol(ada, sql)

    assert refusal(second_step(ada.client, ticket, code=newer.code())) == TICKET_INVALID
    assert refusal(second_step(ada.client, ticket_of(ada), code=phone.code())) == CODE_INVALID
    assert second_step(ada.client, ticket_of(ada), code=newer.code()).status_code == 200


@pytest.mark.parametrize("ticket", ["x", "A" * 43, "\u00e9", "\U0001f511", "9" * 60_000, " "])
def test_unknown_ticket_is_refused_and_charged_to_the_address(
    client: FlaskClient, phone: App, sql: Sql, ticket: str
) -> None:
    sql("DELETE FROM auth_throttle")

    answer = second_step(client, ticket, code=phone.code())

    assert refusal(answer) == TICKET_INVALID
    assert keys(sql) == ["address 127.0.0.1"]


def test_unknown_tickets_reach_the_limit_of_the_address(app: Flask, phone: App, sql: Sql) -> None:
    sql("DELETE FROM auth_throttle")
    stranger = client_at(app, ELSEWHERE)

    answers = [second_step(stranger, "x", code=WRONG_CODE) for _ in range(101)]

    assert [answer.get_json()["code"] for answer in answers] == ["ticket_invalid"] * 100 + ["rate_limited"]
    assert int(answers[-1].headers["Retry-After"]) == answers[-1].get_json()["retry_after"] > 0


def test_ticket_works_once(ada: Actor, phone: App, sql: Sql) -> None:
    ticket = ticket_of(ada)
    assert second_step(ada.client, ticket, code=phone.code()).status_code == 200
    forget_steps(sql)

    assert refusal(second_step(ada.client, ticket, code=phone.code())) == TICKET_INVALID


def test_wrong_code_leaves_the_ticket(ada: Actor, phone: App) -> None:
    ticket = ticket_of(ada)

    wrong = [second_step(ada.client, ticket, code=WRONG_CODE) for _ in range(4)]

    assert [refusal(answer) for answer in wrong] == [CODE_INVALID] * 4
    assert second_step(ada.client, ticket, code=phone.code()).status_code == 200


def test_tickets_of_a_user_live_side_by_side(app: Flask, ada: Actor, phone: App, sql: Sql) -> None:
    """Attack: whoever knows the password logs in all the time, so that the owner's ticket would be void."""
    stranger = client_at(app, ELSEWHERE)
    first, second = ticket_of(ada), ticket_of(ada, stranger)

    answers = [second_step(ada.client, first, code=phone.code())]
    forget_steps(sql)
    answers.append(second_step(stranger, second, code=phone.code()))

    assert first != second
    assert [answer.status_code for answer in answers] == [200, 200]


def test_ticket_needs_a_code_of_its_own_user(ada: Actor, phone: App, sql: Sql) -> None:
    bob = Actor(ada.client, "bob").register()
    others = enrol(bob, sql)
    ticket = ticket_of(ada)

    refused = [
        second_step(ada.client, ticket, code=others.code()),
        second_step(ada.client, ticket, recovery_code=others.recovery_codes[0]),
    ]
    answer = second_step(ada.client, ticket, code=phone.code())

    assert [refusal(each) for each in refused] == [CODE_INVALID] * 2
    assert (answer.status_code, answer.get_json()["user"]["id"]) == (200, ada.id)
    assert keys(sql, f"second factor {bob.id} ") == keys(sql, f"second factor {ada.id} ".replace("1", "2"))


def test_ticket_works_on_another_device(app: Flask, ada: Actor, phone: App) -> None:
    answer = second_step(client_at(app, ELSEWHERE), ticket_of(ada), code=phone.code())

    assert answer.status_code == 200


def test_password_that_changes_after_the_code_was_checked_opens_no_session(
    ada: Actor, phone: App, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Race (TOCTOU): the ticket and the code were right, and then the password changes."""
    ticket, before = ticket_of(ada), session_ids(sql)

    prove = SecondFactor.prove

    def prove_and_change(self: SecondFactor, *args: Any, **kwargs: Any) -> ProvedCode:
        code = prove(self, *args, **kwargs)
        sql("UPDATE users SET password = password || ' '")
        return code

    monkeypatch.setattr(SecondFactor, "prove", prove_and_change)
    answer = second_step(ada.client, ticket, code=phone.code())

    assert refusal(answer) == TICKET_INVALID
    assert session_ids(sql) == before
    assert sql("SELECT last_step FROM auth_second_factors") == [(-1,)]


def test_password_that_changes_before_the_ticket_is_issued_gives_none(
    ada: Actor, phone: App, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Race (TOCTOU): the password was right, and the user changes it before the ticket is stored."""

    def change(*_args: object, **_kwargs: object) -> None:
        sql("UPDATE users SET password = password || ' '")

    monkeypatch.setattr("auth.sign_in.require_verified", change)
    answer = ada.try_log_in(password=PASSWORD)

    assert refusal(answer) == (401, "invalid_credentials", "Bearer")
    assert sql("SELECT count(*) FROM auth_tickets") == [(0,)]
