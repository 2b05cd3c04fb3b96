"""`flask --app app user reset-2fa NAME`, and the second factor's limits in `user unlock`."""

import re
from typing import Any

import pytest
from flask import Flask

from tests.support import SECRET_KEY
from tests.support.actor import Actor, ClientOf, refusal
from tests.support.apps import NO_DATABASE, app_on, messages
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings
from tests.support.notices import details, notices
from tests.support.rows import stored
from tests.support.second_factors import (
    WRONG_CODE,
    App,
    enable,
    enrol,
    first_step,
    log_in,
    second_step,
    set_up,
    stored_factors,
    ticket_of,
)
from tests.support.throttling import codes, keys

REMOVED = (0, "User 1 (ada): the second factor is removed.\n")
HAS_NONE = (0, "User 1 (ada) has no second factor.\n")


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """The app of ada, whose second factor is on."""
    app = enrol(ada, sql)
    sql("DELETE FROM auth_outbox; DELETE FROM auth_throttle")
    return app


def run(app: Flask, *command: str) -> tuple[int, str]:
    """Return the exit status and the output of a command for a user."""
    result = app.test_cli_runner().invoke(args=["user", *command])
    return result.exit_code, result.output


@pytest.mark.parametrize("name", ["ada", "ADA", " ada@example.com"])
def test_reset_removes_the_factor_of_the_user_and_of_no_other(
    app: Flask, ada: Actor, phone: App, sql: Sql, log_lines: list[dict[str, Any]], name: str
) -> None:
    bob = Actor(ada.client, "bob").register()
    bobs_phone = enrol(bob, sql)
    tickets, before = [ticket_of(ada), ticket_of(bob)], stored(sql)

    outcome = run(app, "reset-2fa", name)

    assert outcome == REMOVED
    assert stored(sql) == before
    assert sql("SELECT user_id FROM auth_second_factors") == [(bob.id,)]
    assert sql("SELECT user_id FROM auth_tickets") == [(bob.id,)]
    assert refusal(second_step(ada.client, tickets[0], code=phone.code()))[:2] == (401, "ticket_invalid")
    assert second_step(bob.client, tickets[1], code=bobs_phone.code()).status_code == 200
    assert messages(log_lines, "INFO").count(f"second_factor_reset user_id={ada.id}") == 1
    assert notices(sql) == []  # mail is off


def test_after_a_reset_the_password_alone_is_enough(app: Flask, ada: Actor, phone: App) -> None:
    run(app, "reset-2fa", "ada")

    answer = first_step(ada)

    assert answer.status_code == 200
    assert answer.get_json()["user"]["two_factor"] is False
    assert ada.change_profile(username="countess", current_password=ada.password).status_code == 200
    assert ada.is_live()


def test_reset_frees_the_budgets_of_the_second_factor_alone(
    app: Flask, ada: Actor, phone: App, sql: Sql
) -> None:
    bob = Actor(ada.client, "bob").register()
    for user in (ada, bob):
        if user is bob:
            enrol(user, sql)
        for _ in range(6):
            user.change_profile(username="x", current_password=user.password, code=WRONG_CODE)
        user.change_profile(username="x", current_password="wrong")

    run(app, "reset-2fa", "ada")

    assert keys(sql, f"second factor {ada.id} ") == []
    assert len(keys(sql, f"second factor {bob.id} ")) == 2
    assert len(keys(sql, f"account {ada.id} ")) == 1
    assert enrol(ada).recovery_codes


@pytest.mark.parametrize("has_setup", [False, True], ids=["nothing", "a setup"])
def test_reset_of_a_user_without_a_factor_says_so(
    client_of: ClientOf, ada: Actor, sql: Sql, log_lines: list[dict[str, Any]], has_setup: bool
) -> None:
    service = client_of(mail=mail_settings()).application
    setup = set_up(ada).get_json() if has_setup else None
    sql("DELETE FROM auth_outbox")

    outcome = run(service, "reset-2fa", "ada")

    assert outcome == HAS_NONE
    assert stored_factors(sql) == []
    assert notices(sql) == []
    assert not [line for line in messages(log_lines, "INFO") if line.startswith("second_factor_reset")]
    if setup:
        assert enable(ada, App.scanning(setup).code()).get_json()["code"] == "setup_required"


def test_reset_twice_says_that_there_is_nothing_more(app: Flask, phone: App) -> None:
    assert [run(app, "reset-2fa", "ada") for _ in range(2)] == [REMOVED, HAS_NONE]


@pytest.mark.parametrize("is_verified", [True, False])
def test_reset_mails_the_user_the_time_alone(
    client_of: ClientOf, ada: Actor, phone: App, sql: Sql, is_verified: bool
) -> None:
    service = client_of(mail=mail_settings()).application
    if is_verified:
        sql("INSERT INTO auth_emails SELECT id, email FROM users")

    assert run(service, "reset-2fa", "ada") == REMOVED

    assert notices(sql) == [("two_factor_off", ada.id, ada.email)]
    [told] = details(sql)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", told.pop("time"))
    assert told == ({"was_verified": "yes"} if is_verified else {})
    assert [letter.kind for letter in letters(service)] == ["two_factor_off"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"two_factor": None}, id="switched off"),
        pytest.param({"secret_key": "another-secret-key-" * 4}, id="another SECRET_KEY"),
        pytest.param({"rate_limits": False}, id="no limits"),
    ],
)
def test_reset_works_with_other_settings(
    client_of: ClientOf, ada: Actor, phone: App, sql: Sql, changes: dict[str, Any]
) -> None:
    ada.change_profile(username="x", current_password=ada.password, code=WRONG_CODE)

    outcome = run(client_of(**changes).application, "reset-2fa", "ada")

    assert outcome == REMOVED
    assert stored_factors(sql) == []
    assert keys(sql, "second factor") == []
    assert first_step(ada).status_code == 200


def test_reset_is_a_way_out_after_a_change_of_the_secret_key(
    client_of: ClientOf, ada: Actor, phone: App, sql: Sql
) -> None:
    client = client_of(secret_key="another-secret-key-" * 4)
    user = ada.through(client)
    shut_out = log_in(user, phone.code())

    run(client.application, "reset-2fa", "ada")

    assert refusal(shut_out)[:2] == (401, "code_invalid")
    assert log_in(user.log_in(), enrol(user, sql).code()).status_code == 200


@pytest.mark.parametrize("name", ["nobody", "", "%", "ada\u00e9", "\udcff"])
def test_reset_of_nobody_fails(app: Flask, phone: App, sql: Sql, name: str) -> None:
    before = stored_factors(sql)

    assert run(app, "reset-2fa", name) == (1, "Error: No user has this username or email.\n")
    assert stored_factors(sql) == before


def test_reset_without_a_name_tells_how_it_is_used(app: Flask) -> None:
    status, output = run(app, "reset-2fa")

    assert status == 2
    assert "Missing argument 'NAME'" in output


def test_reset_without_a_database_is_one_sentence() -> None:
    status, output = run(app_on(NO_DATABASE), "reset-2fa", "ada")

    assert status == 1
    assert output.startswith("Error: ")
    assert output.count("\n") == 1
    assert "hunter2" not in output
    assert SECRET_KEY not in output


@pytest.mark.parametrize("is_on", [True, False], ids=["TWO_FACTOR on", "TWO_FACTOR off"])
def test_unlock_frees_the_budgets_of_the_second_factor(
    app: Flask, client_of: ClientOf, ada: Actor, phone: App, sql: Sql, is_on: bool
) -> None:
    ticket = ticket_of(ada)
    sql("DELETE FROM auth_throttle")
    before = [second_step(ada.client, ticket, code=WRONG_CODE) for _ in range(6)]

    outcome = run(app if is_on else client_of(two_factor=None).application, "unlock", "ada")

    assert codes(before) == ["code_invalid"] * 5 + ["too_many_attempts"]
    assert outcome == (0, "User 1 (ada): every lock has ended. Limits reset: 2\n")
    assert keys(sql, "second factor") == []
    assert second_step(ada.client, ticket, code=phone.code()).status_code == 200
