"""A code works once (RFC 6238 section 5.2): in sequence, at once, and after a later one."""

from functools import partial
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.two_factor import encryption, recovery_codes, totp
from runtime import clock
from runtime.two_factor_settings import TwoFactorSettings
from tests.support import SECRET_KEY
from tests.support.actor import NEW_PASSWORD, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.races import at_once, statuses
from tests.support.rows import session_ids
from tests.support.second_factors import App, disable, enrol, forget_steps, log_in, second_step, ticket_of
from tests.support.throttling import ELSEWHERE, client_at, codes

CODE_INVALID = (401, "code_invalid", "Bearer")


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """Ada's authenticator app, whose second factor is in force."""
    return enrol(ada, sql)


@pytest.fixture
def browsers(app: Flask) -> list[FlaskClient]:
    return [client_at(app, ELSEWHERE) for _ in range(4)]


def steps_at_once(user: Actor, browsers: list[FlaskClient], **typed: str) -> list[Any]:
    """Send the second step at once from each browser, each with a ticket of its own."""
    calls = [partial(second_step, browser, ticket_of(user, browser), **typed) for browser in browsers]
    return at_once(*calls)


def test_code_that_was_used_is_refused(ada: Actor, phone: App) -> None:
    code = phone.code()

    first, again = log_in(ada, code), log_in(ada, code)

    assert first.status_code == 200
    assert refusal(again) == CODE_INVALID


def test_code_that_enabled_the_second_factor_is_refused(ada: Actor, sql: Sql) -> None:
    phone = enrol(ada)
    [(step,)] = sql("SELECT last_step FROM auth_second_factors")

    assert refusal(log_in(ada, totp.code(phone.secret, step))) == CODE_INVALID
    assert log_in(ada, totp.code(phone.secret, step + 1)).status_code == 200


def test_code_of_an_earlier_step_is_refused_after_a_later_one(ada: Actor, phone: App) -> None:
    earlier, later = phone.code(), phone.code(steps=1)

    assert log_in(ada, later).status_code == 200
    assert [refusal(log_in(ada, code)) for code in (earlier, phone.code(steps=-1))] == [CODE_INVALID] * 2


def test_code_that_changed_the_password_opens_no_session(ada: Actor, phone: App) -> None:
    code = phone.code()
    assert ada.change_password(code=code).status_code == 200
    ada.password = NEW_PASSWORD

    assert refusal(log_in(ada, code)) == CODE_INVALID


def test_code_that_opened_a_session_removes_no_second_factor(ada: Actor, phone: App) -> None:
    code = phone.code()
    assert log_in(ada, code).status_code == 200

    refused = disable(ada, code=code)

    assert refusal(refused) == (400, "code_invalid", None)
    assert ada.me().get_json()["two_factor"] is True


@pytest.mark.parametrize("kind", ["code", "recovery_code"])
def test_one_code_at_once_opens_one_session(
    ada: Actor, phone: App, sql: Sql, browsers: list[FlaskClient], kind: str
) -> None:
    for number in range(5):
        sql("UPDATE auth_second_factors SET last_step = -1; DELETE FROM auth_throttle")
        before = len(session_ids(sql))
        typed = {kind: phone.code() if kind == "code" else phone.recovery_codes[number]}

        answers = steps_at_once(ada, browsers, **typed)

        assert statuses(answers) == {200: 1, 401: 3}
        assert set(codes(answers)) == {"", "code_invalid"}
        assert len(session_ids(sql)) == before + 1


def test_two_right_codes_on_one_ticket_at_once_open_one_session(
    ada: Actor, phone: App, sql: Sql, browsers: list[FlaskClient]
) -> None:
    used = "SELECT (last_step >= 0)::INT + (SELECT count(*) FROM unnest(recovery_hashes) h WHERE h IS NULL)"
    for number in range(5):
        sql("UPDATE auth_second_factors SET last_step = -1")
        ticket, [(before,)] = ticket_of(ada), sql(f"{used} FROM auth_second_factors")
        typed = [{"code": phone.code()}, {"recovery_code": phone.recovery_codes[number]}]

        answers = at_once(
            *[
                partial(second_step, browser, ticket, **each)
                for browser, each in zip(browsers, typed, strict=False)
            ]
        )

        assert sorted(codes(answers)) == ["", "ticket_invalid"]
        assert sql(f"{used} FROM auth_second_factors") == [(before + 1,)]


def test_recovery_codes_at_once_are_all_used_up(
    ada: Actor, phone: App, sql: Sql, browsers: list[FlaskClient]
) -> None:
    calls = [
        partial(second_step, browser, ticket_of(ada, browser), recovery_code=code)
        for browser, code in zip(browsers, phone.recovery_codes, strict=False)
    ]

    assert statuses(at_once(*calls)) == {200: 4}
    left = "SELECT count(*) FROM auth_second_factors, unnest(recovery_hashes) AS hash WHERE hash IS NOT NULL"
    assert sql(left) == [(6,)]


def test_codes_of_two_steps_at_once_open_two_sessions_at_most(
    ada: Actor, phone: App, browsers: list[FlaskClient]
) -> None:
    """The later one may win the race; the earlier one is a replay then."""
    codes_sent = [phone.code(), phone.code(steps=1)]
    calls = [
        partial(second_step, browser, ticket_of(ada, browser), code=code)
        for browser, code in zip(browsers, codes_sent, strict=False)
    ]

    answers = at_once(*calls)

    assert answers[1].status_code == 200
    assert answers[0].status_code in (200, 401)


def test_replay_counts_as_a_failure(ada: Actor, phone: App) -> None:
    code = phone.code()
    assert log_in(ada, code).status_code == 200

    answers = [log_in(ada, code) for _ in range(6)]

    assert codes(answers) == ["code_invalid"] * 5 + ["too_many_attempts"]


@pytest.mark.parametrize(("window", "accepted"), [(0, [0]), (1, [-1, 0, 1]), (2, [-2, -1, 0, 1, 2])])
def test_window_is_that_of_the_settings(
    ada: Actor, phone: App, client_of: ClientOf, sql: Sql, window: int, accepted: list[int]
) -> None:
    now = clock.now()
    client = client_of(two_factor=TwoFactorSettings(totp_window=window))
    statuses_by_step = {}
    for step in range(-3, 4):
        sql("DELETE FROM auth_throttle")
        forget_steps(sql)
        code = totp.code(phone.secret, int(now.timestamp()) // totp.STEP_SECONDS + step)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("auth.two_factor.verification.clock.now", lambda: now)
            answer = second_step(client, ticket_of(ada, client), code=code)
        statuses_by_step[step] = answer.status_code

    assert [step for step, status in statuses_by_step.items() if status == 200] == accepted


def test_recovery_codes_and_secrets_have_keys_of_their_own(ada: Actor, phone: App, sql: Sql) -> None:
    key = encryption.derived_key(SECRET_KEY, encryption.TOTP_SECRETS)
    code = recovery_codes.parse(phone.recovery_codes[0])
    assert code
    [(hashes,)] = sql("SELECT recovery_hashes FROM auth_second_factors")

    assert bytes(hashes[0]) != code.hash(user_id=ada.id, key=key)
