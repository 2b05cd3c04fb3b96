"""Login with a second factor: a ticket for the password, and the session for ticket and code."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.passwords import PasswordHasher
from auth.two_factor import factors
from tests.support import SECRET_KEY
from tests.support.actor import LOGIN, WRONG_PASSWORD, Actor, ClientOf, refusal
from tests.support.apps import messages
from tests.support.database import Sql
from tests.support.rows import session_ids
from tests.support.second_factors import (
    WRONG_CODE,
    App,
    enrol,
    first_step,
    forget_steps,
    log_in,
    second_step,
    ticket_of,
)
from tests.support.throttling import ELSEWHERE, client_at

CODE_INVALID = (401, "code_invalid", "Bearer")
CODE_REQUIRED = {"code": "A code of your authenticator app or a recovery code is required."}
TICKETS = "SELECT count(*) FROM auth_tickets"
BUDGETS = "SELECT auth_throttle::text FROM auth_throttle ORDER BY key"
UNUSED = "SELECT count(*) FROM auth_second_factors, unnest(recovery_hashes) AS hash WHERE hash IS NOT NULL"


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """Ada's authenticator app, whose second factor is in force."""
    return enrol(ada, sql)


def test_right_password_is_401_with_a_ticket_and_nothing_else(ada: Actor, phone: App, sql: Sql) -> None:
    before = session_ids(sql)

    answer = first_step(ada)

    body = answer.get_json()
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert body.keys() == {"error", "code", "ticket", "expires_in"}
    assert (body["code"], body["expires_in"], len(body["ticket"])) == ("second_factor_required", 300, 43)
    assert body["error"] == "Please enter a code of your authenticator app."
    assert "Set-Cookie" not in answer.headers
    assert session_ids(sql) == before


def test_wrong_password_tells_nothing_of_the_second_factor(ada: Actor, phone: App, sql: Sql) -> None:
    bob = Actor(ada.client, "bob").register()

    refused = [user.try_log_in(password=WRONG_PASSWORD) for user in (ada, bob)]

    assert refused[0].data == refused[1].data
    assert sql(TICKETS) == [(0,)]


def test_code_of_the_app_is_200_as_a_login(app: Flask, ada: Actor, phone: App, sql: Sql) -> None:
    usual = Actor(app.test_client(), "bob").register().try_log_in()
    laptop = client_at(app, ELSEWHERE)

    answer = log_in(ada, phone.code(), laptop)

    body = answer.get_json()
    assert (answer.status_code, body.keys()) == (200, usual.get_json().keys())
    assert answer.headers["Set-Cookie"].startswith("device=")
    assert (body["user"]["id"], body["user"]["two_factor"]) == (ada.id, True)
    assert ada.holding(body).refresh().is_live()
    assert sql("SELECT ip FROM auth_sessions ORDER BY id DESC LIMIT 1") == [(ELSEWHERE,)]
    assert sql(TICKETS) == [(0,)]


@pytest.mark.parametrize("typed", ["{} {}", " {}{} ", "{}\t{}\n"])
def test_blanks_in_a_code_do_not_count(ada: Actor, phone: App, typed: str) -> None:
    code = phone.code()

    assert log_in(ada, typed.format(code[:3], code[3:])).status_code == 200


def test_each_recovery_code_works_once(ada: Actor, phone: App, sql: Sql) -> None:
    for left, code in enumerate(reversed(phone.recovery_codes)):
        first = second_step(ada.client, ticket_of(ada), recovery_code=code)
        again = second_step(ada.client, ticket_of(ada), recovery_code=code)

        assert first.status_code == 200
        assert refusal(again) == CODE_INVALID
        assert sql(UNUSED) == [(9 - left,)]
        sql("DELETE FROM auth_throttle")


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(str.upper, id="upper case"),
        pytest.param(lambda code: code.replace("-", ""), id="no hyphen"),
        pytest.param(lambda code: code.replace("-", " \u2013 "), id="dash and blanks"),
        pytest.param(lambda code: f"  {'-'.join(code)}\n", id="hyphens everywhere"),
    ],
)
def test_spelling_of_a_recovery_code_does_not_count(
    ada: Actor, phone: App, spelling: Callable[[str], str]
) -> None:
    answer = second_step(ada.client, ticket_of(ada), recovery_code=spelling(phone.recovery_codes[3]))

    assert answer.status_code == 200


@pytest.mark.parametrize("typed", ["x", "0", "0" * 12, "3" * 12, "\u0663" * 12, "9" * 60_000, "-"])
def test_text_that_is_no_recovery_code_of_the_user_is_refused(ada: Actor, phone: App, typed: str) -> None:
    assert refusal(second_step(ada.client, ticket_of(ada), recovery_code=typed)) == CODE_INVALID


@pytest.mark.parametrize("typed", ["x", "12345", "1234567", "\u0661" * 6, "9" * 60_000, "-00001"])
def test_text_that_is_no_code_is_refused(ada: Actor, phone: App, typed: str) -> None:
    assert refusal(log_in(ada, typed)) == CODE_INVALID


def test_if_both_are_sent_the_code_of_the_app_counts(ada: Actor, phone: App, sql: Sql) -> None:
    ticket, recovery_code = ticket_of(ada), phone.recovery_codes[0]

    wrong = second_step(ada.client, ticket, code=WRONG_CODE, recovery_code=recovery_code)
    right = second_step(ada.client, ticket, code=phone.code(), recovery_code=recovery_code)

    assert (refusal(wrong), right.status_code) == (CODE_INVALID, 200)
    assert sql(UNUSED) == [(10,)]


@pytest.mark.parametrize(
    "fields", [{}, {"code": None}, {"code": ""}, {"code": " ", "recovery_code": "\n"}, {"recovery_code": ""}]
)
def test_neither_sent_is_400_and_not_charged(
    ada: Actor, phone: App, sql: Sql, fields: dict[str, object]
) -> None:
    ticket, before = ticket_of(ada), sql(BUDGETS)

    answer = second_step(ada.client, ticket, **fields)

    assert (answer.status_code, answer.get_json()["fields"]) == (400, CODE_REQUIRED)
    assert sql(BUDGETS) == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"code": "123456"}, "ticket"),
        ({"ticket": "", "code": "123456"}, "ticket"),
        ({"ticket": 7, "code": "123456"}, "ticket"),
        ({"ticket": "x", "code": 123456}, "code"),
        ({"ticket": "x", "recovery_code": ["0"]}, "recovery_code"),
    ],
)
def test_bad_field_is_400(client: FlaskClient, body: dict[str, object], field: str) -> None:
    answer = client.post("/api/auth/login/2fa", json=body)

    assert (answer.status_code, answer.get_json()["code"]) == (400, "validation_failed")
    assert field in answer.get_json()["fields"]


def test_switched_off_feature_asks_nobody_for_a_second_factor(
    ada: Actor, phone: App, client_of: ClientOf
) -> None:
    ticket, off = ticket_of(ada), client_of(two_factor=None)

    login = first_step(ada, off)
    refused = second_step(off, ticket, code=phone.code())

    assert (login.status_code, "token" in login.get_json()) == (200, True)
    assert refusal(refused) == (404, "feature_off", None)
    assert second_step(ada.client, ticket, code=phone.code()).status_code == 200


def test_hash_is_strengthened_before_the_ticket(
    ada: Actor, phone: App, client_of: ClientOf, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    strong, verified, verify = client_of(bcrypt_rounds=5), [], PasswordHasher.verify

    def count(self: PasswordHasher, *args: Any) -> bool:
        verified.append(self)
        return verify(self, *args)

    monkeypatch.setattr(PasswordHasher, "verify", count)
    ticket = ticket_of(ada, strong)

    assert sql("SELECT substr(password, 5, 2) FROM users") == [("05",)]
    assert len(verified) == 1  # a ticket for the earlier hash is refused, and the password is proved again
    assert second_step(strong, ticket, code=phone.code()).status_code == 200


def test_log_tells_ids_and_no_secret(
    ada: Actor, phone: App, log_lines: list[dict[str, Any]], sql: Sql
) -> None:
    ticket, code, recovery_code = ticket_of(ada), phone.code(), phone.recovery_codes[2]
    second_step(ada.client, ticket, code="987654")
    second_step(ada.client, ticket, recovery_code="2aaaaaaaaaaa")
    second_step(ada.client, ticket, code=code)
    second_step(ada.client, ticket_of(ada), code=code)
    second_step(ada.client, ticket_of(ada), recovery_code=recovery_code)
    second_step(ada.client, "an unknown ticket", recovery_code=recovery_code)

    assert messages(log_lines, "INFO").count("second_factor_required user_id=1") == 3
    assert messages(log_lines, "WARNING") == [
        *["second_factor_failed user_id=1"] * 3,
        "authentication_failed code=ticket_invalid",
    ]
    secrets = ["987654", "aaaaa", ticket, code, recovery_code, "an unknown", phone.secret.hex(), ada.password]
    assert [secret for secret in secrets if secret in str(log_lines)] == []


def test_code_that_is_used_meanwhile_leaves_the_ticket(
    ada: Actor, phone: App, sql: Sql, monkeypatch: pytest.MonkeyPatch, log_lines: list[dict[str, Any]]
) -> None:
    """Race: the code was right, and another request uses it before the session is opened."""
    ticket, code, before = ticket_of(ada), phone.code(), session_ids(sql)

    with monkeypatch.context() as patch:
        patch.setattr(factors, "use_step", lambda *_: False)
        refused = second_step(ada.client, ticket, code=code)

    assert refusal(refused) == CODE_INVALID
    assert "Set-Cookie" not in refused.headers
    assert session_ids(sql) == before
    assert "second_factor_replayed user_id=1" in messages(log_lines, "WARNING")
    assert second_step(ada.client, ticket, code=code).status_code == 200


@pytest.mark.parametrize("kind", ["code", "recovery_code"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("", id="SECRET_KEY changed"),
        pytest.param("UPDATE auth_second_factors SET secret = ''", id="empty"),
        pytest.param("UPDATE auth_second_factors SET secret = substr(secret, 1, 20)", id="cut off"),
        pytest.param("UPDATE auth_second_factors SET secret = secret || '\\x00'", id="longer"),
    ],
)
def test_secret_that_cannot_be_read_is_401_with_a_way_out(
    ada: Actor,
    phone: App,
    client_of: ClientOf,
    sql: Sql,
    log_lines: list[dict[str, Any]],
    kind: str,
    damage: str,
) -> None:
    client = ada.client if damage else client_of(secret_key="x" * len(SECRET_KEY))
    typed = {kind: phone.code() if kind == "code" else phone.recovery_codes[0]}
    ticket = ticket_of(ada, client)
    sql(f"DELETE FROM auth_throttle; {damage}")

    answer = second_step(client, ticket, **typed)

    assert refusal(answer) == CODE_INVALID
    assert "ask the operator" in answer.get_json()["error"]
    assert sql("SELECT count(*) FROM auth_throttle WHERE key LIKE 'second factor%%'") == [(0,)]
    second_step(
        client, ticket, **typed
    )  # is logged once a minute: a holder of the password could fill the log
    [line] = messages(log_lines, "ERROR")
    assert line.startswith("second_factor_undecryptable user_id=1: ")
    assert "reset-2fa" in line


def test_secret_of_another_user_is_none(ada: Actor, phone: App, sql: Sql) -> None:
    """Attack: somebody who may write to the table copies a secret that they know into the row of a victim."""
    bob = Actor(ada.client, "bob").register()
    known = enrol(bob)
    sql("UPDATE auth_second_factors SET secret = (SELECT secret FROM auth_second_factors WHERE user_id = 2)")
    forget_steps(sql)

    assert refusal(log_in(ada, known.code())) == CODE_INVALID
    assert log_in(bob, known.code()).status_code == 200


def test_ticket_is_no_token(ada: Actor, phone: App) -> None:
    ticket = ticket_of(ada)

    assert ada.me(ticket).status_code == 401
    assert ada.try_refresh(ticket).status_code == 401


def test_login_by_email_needs_the_second_factor(ada: Actor, phone: App) -> None:
    answer = ada.client.open(
        LOGIN, method="POST", json={"email": ada.email, "password": ada.password}, headers={}
    )

    assert answer.get_json()["code"] == "second_factor_required"
