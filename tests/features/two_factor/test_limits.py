"""How often a second factor may be guessed: the limits of an account over all codes, calls and devices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.tokens.one_time import Owner
from auth.two_factor import totp
from runtime.settings import Rate
from tests.support.actor import NEW_PASSWORD, Actor, ClientOf
from tests.support.apps import messages
from tests.support.database import Sql
from tests.support.mails import mail_settings
from tests.support.races import at_once, statuses
from tests.support.resets import reset, stored_token
from tests.support.second_factors import (
    WRONG_CODE,
    App,
    disable,
    enrol,
    forget_steps,
    log_in,
    renew,
    second_step,
    ticket_of,
)
from tests.support.throttling import ELSEWHERE, client_at, codes, elapse, keys

FAILED, REFUSED = "code_invalid", "too_many_attempts"
WRONG_RECOVERY_CODE = "0aaaaa-aaaaaa"

Guess = Callable[[Actor], Any]


def by_code(user: Actor) -> Any:
    return log_in(user, WRONG_CODE)


def by_recovery_code(user: Actor) -> Any:
    return second_step(user.client, ticket_of(user), recovery_code=WRONG_RECOVERY_CODE)


def by_disabling(user: Actor) -> Any:
    return disable(user, code=WRONG_CODE)


def by_disabling_with_a_recovery_code(user: Actor) -> Any:
    return disable(user, recovery_code=WRONG_RECOVERY_CODE)


def by_renewal(user: Actor) -> Any:
    return renew(user, code=WRONG_CODE)


def by_new_password(user: Actor) -> Any:
    return user.change_password(code=WRONG_CODE)


def by_new_name(user: Actor) -> Any:
    return user.change_profile(username="countess", current_password=user.password, code=WRONG_CODE)


def by_deletion(user: Actor) -> Any:
    return user.send("DELETE", "/api/auth/me", {"password": user.password, "code": WRONG_CODE})


GUESSES: list[Guess] = [
    *[by_code, by_recovery_code, by_disabling, by_disabling_with_a_recovery_code],
    *[by_renewal, by_new_password, by_new_name, by_deletion],
]


@pytest.fixture
def phone(ada: Actor, sql: Sql) -> App:
    """Ada's authenticator app, whose second factor is in force."""
    return enrol(ada, sql)


def refill_the_short_limit(sql: Sql) -> None:
    sql("UPDATE auth_throttle SET full_at = '-infinity' WHERE key LIKE 'second factor % 5/5m'")


def test_right_code_after_five_failures_is_429_and_looks_like_a_wrong_one(
    ada: Actor, phone: App, log_lines: list[dict[str, Any]]
) -> None:
    ticket = ticket_of(ada)
    failures = [second_step(ada.client, ticket, code=WRONG_CODE) for _ in range(5)]

    right = second_step(ada.client, ticket, code=phone.code())
    wrong = second_step(ada.client, ticket, code=WRONG_CODE)
    by_recovery = second_step(ada.client, ticket, recovery_code=phone.recovery_codes[0])

    assert codes(failures) == [FAILED] * 5
    assert (right.status_code, codes([right, wrong, by_recovery])) == (429, [REFUSED] * 3)
    assert int(right.headers["Retry-After"]) == right.get_json()["retry_after"]
    assert 55 <= right.get_json()["retry_after"] <= 60
    assert right.get_json().keys() == wrong.get_json().keys() == {"error", "code", "retry_after"}
    refusals = [line for line in messages(log_lines, "WARNING") if line.startswith("throttled ")]
    assert [line.rpartition(" ")[0] for line in refusals] == [
        "throttled key='second factor 1 5/5m' account=1"
    ]


@pytest.mark.parametrize("guess", GUESSES)
def test_each_call_counts_and_is_refused(ada: Actor, phone: App, guess: Guess) -> None:
    others = [each for each in GUESSES if each is not guess][:4]

    answers = [each(ada) for each in [*others, guess, guess]]

    assert codes(answers) == [FAILED] * 5 + [REFUSED]
    assert codes([log_in(ada, phone.code())]) == [REFUSED]


def test_failures_count_over_devices_addresses_and_tickets(app: Flask, ada: Actor, phone: App) -> None:
    answers = []
    for number in range(5):
        stranger = client_at(app, f"198.51.100.{number}", use_cookies=False)
        answers.append(second_step(stranger, ticket_of(ada, stranger), code=WRONG_CODE))

    answers.append(log_in(ada, phone.code()))

    assert codes(answers) == [FAILED] * 5 + [REFUSED]


def test_right_password_resets_nothing(ada: Actor, phone: App) -> None:
    answers = []
    for _ in range(5):
        answers.append(log_in(ada, WRONG_CODE))
        ticket_of(ada)

    answers.append(log_in(ada, phone.code()))

    assert codes(answers) == [FAILED] * 5 + [REFUSED]


def test_reset_of_the_password_resets_nothing(ada: Actor, phone: App, client_of: ClientOf) -> None:
    mailing = client_of(mail=mail_settings())
    for _ in range(5):
        log_in(ada, WRONG_CODE)

    assert reset(mailing, stored_token(mailing, Owner(ada.id, ada.email))).status_code == 204
    ada.password = NEW_PASSWORD

    assert codes([log_in(ada, phone.code())]) == [REFUSED]


def test_unlocking_by_the_operator_ends_the_wait(app: Flask, ada: Actor, phone: App) -> None:
    for _ in range(5):
        log_in(ada, WRONG_CODE)

    app.test_cli_runner().invoke(args=["user", "unlock", "ada"])

    assert codes([log_in(ada, phone.code())]) == [""]


def test_limit_refills_by_one_a_minute(ada: Actor, phone: App, sql: Sql) -> None:
    for _ in range(5):
        log_in(ada, WRONG_CODE)
    elapse(sql, 60)

    assert codes([log_in(ada, WRONG_CODE), log_in(ada, phone.code())]) == [FAILED, REFUSED]


def test_fifty_failures_use_up_the_day(ada: Actor, phone: App, sql: Sql) -> None:
    ticket, answers = ticket_of(ada), []
    sql("DELETE FROM auth_throttle")
    for _ in range(10):
        answers += [second_step(ada.client, ticket, code=WRONG_CODE) for _ in range(5)]
        refill_the_short_limit(sql)

    refused = second_step(ada.client, ticket, code=phone.code())
    elapse(sql, 86400 / 50)
    right = second_step(ada.client, ticket, code=phone.code())

    assert codes(answers) == [FAILED] * 50
    assert codes([refused, right]) == [REFUSED, ""]
    assert 1700 <= refused.get_json()["retry_after"] <= 1728


def test_refused_guess_is_not_charged(ada: Actor, phone: App, sql: Sql) -> None:
    ticket = ticket_of(ada)
    for _ in range(60):
        second_step(ada.client, ticket, code=WRONG_CODE)
    elapse(sql, 300)

    assert codes([second_step(ada.client, ticket, code=phone.code())]) == [""]


@pytest.mark.parametrize("kind", ["code", "recovery_code"])
def test_success_gives_its_own_charge_back_and_no_other(ada: Actor, phone: App, kind: str) -> None:
    answers = [log_in(ada, WRONG_CODE) for _ in range(4)]
    typed = {kind: phone.code() if kind == "code" else phone.recovery_codes[0]}
    answers.append(second_step(ada.client, ticket_of(ada), **typed))
    answers += [log_in(ada, WRONG_CODE) for _ in range(2)]

    assert codes(answers) == [FAILED] * 4 + ["", FAILED, REFUSED]


def test_successes_use_nothing_up(ada: Actor, phone: App, sql: Sql) -> None:
    answers = []
    for _ in range(8):
        answers.append(log_in(ada, phone.code()))
        forget_steps(sql)

    assert codes(answers) == [""] * 8


def test_users_have_limits_of_their_own(ada: Actor, phone: App, sql: Sql) -> None:
    bob = Actor(ada.client, "bob").register()
    others = enrol(bob, sql)
    for _ in range(6):
        log_in(ada, WRONG_CODE)

    assert codes([log_in(bob, others.code())]) == [""]


def test_limit_holds_without_rate_limits(ada: Actor, phone: App, client_of: ClientOf, sql: Sql) -> None:
    ada = ada.through(client_of(rate_limits=False))
    sql("DELETE FROM auth_throttle")

    answers = [log_in(ada, WRONG_CODE) for _ in range(5)]
    answers += [log_in(ada, phone.code()), second_step(ada.client, "an unknown ticket", code="1")]

    assert codes(answers) == [FAILED] * 5 + [REFUSED, "ticket_invalid"]
    assert keys(sql) == [f"second factor {ada.id} 5/5m", f"second factor {ada.id} 50/1d"]


def test_failures_count_for_the_address(ada: Actor, phone: App, client_of: ClientOf) -> None:
    service = client_of(limit_address_failures=Rate(3, "10m")).application
    stranger = client_at(service, ELSEWHERE)
    ticket = ticket_of(ada, stranger)
    answers = [second_step(stranger, ticket, code=WRONG_CODE) for _ in range(3)]

    answers.append(second_step(stranger, ticket, code=phone.code()))
    answers.append(second_step(client_at(service, "203.0.113.8"), ticket, code=phone.code()))

    assert codes(answers) == [FAILED] * 3 + ["rate_limited", ""]


def test_address_that_is_used_up_does_not_keep_a_known_browser_out(
    ada: Actor, phone: App, client_of: ClientOf
) -> None:
    """Attack (denial of service): somebody behind the same address uses its budget up."""
    service = client_of(limit_address_failures=Rate(3, "10m")).application
    browser, neighbour = client_at(service, ELSEWHERE), client_at(service, ELSEWHERE)
    assert log_in(ada, phone.code(), browser).status_code == 200  # sets the cookie
    failures = [second_step(neighbour, "an unknown ticket", code="1") for _ in range(4)]

    answers = [log_in(ada, phone.code(steps=1), browser)]
    answers.append(second_step(neighbour, ticket_of(ada), code=WRONG_CODE))

    assert codes(failures) == ["ticket_invalid"] * 3 + ["rate_limited"]
    assert codes(answers) == ["", "rate_limited"]


def test_guesses_at_once_pass_five_times(
    app: Flask, ada: Actor, phone: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at, look = [], totp.matching_step

    def count(*args: Any, **kwargs: Any) -> int | None:
        looked_at.append(args)
        return look(*args, **kwargs)

    monkeypatch.setattr(totp, "matching_step", count)
    browsers: list[FlaskClient] = [client_at(app, f"198.51.100.{number}") for number in range(16)]
    tickets = [ticket_of(ada, browser) for browser in browsers]
    guesses = [
        partial(second_step, browser, ticket, code=WRONG_CODE)
        for browser, ticket in zip(browsers, tickets, strict=True)
    ]

    answers = at_once(*guesses)

    assert statuses(answers) == {401: 5, 429: 11}
    assert len(looked_at) == 5
