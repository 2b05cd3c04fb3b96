"""Enrolment, changes of the account and its deletion at once, and what happens between two statements."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import bcrypt
import pytest
from flask import Flask

from auth.two_factor import factors
from config import Settings
from db import DatabaseUnavailable
from tests.support import PASSWORD
from tests.support.actor import NEW_PASSWORD, TOKEN_INVALID, Actor, ClientOf, refusal
from tests.support.database import Sql, held_open
from tests.support.mails import mail_settings
from tests.support.races import at_once, deadlocks, statuses, wait_for_both, wait_until_blocked
from tests.support.second_factors import (
    App,
    disable,
    enable,
    enrol,
    forget_steps,
    renew,
    second_step,
    set_up,
    ticket_of,
)
from tests.support.throttling import codes

CODE_INVALID = (400, "code_invalid", None)
# What a user does beside an enrolment; each from a session of its own.
CALLS: dict[str, Callable[[Actor], Any]] = {
    "set up": set_up,
    "change the password": lambda user: user.change_password(),
    "delete": lambda user: user.delete(),
    "log in": lambda user: user.try_log_in(),
    "refresh": lambda user: user.try_refresh(),
    "revoke the others": lambda user: user.revoke_other_sessions(),
    "change the username": lambda user: user.change_profile(
        username=f"new-{user.username}", current_password=user.password
    ),
}


def in_force(sql: Sql, user_id: int) -> int:
    """Return how many second factors of a user are in force."""
    [(count,)] = sql("SELECT count(enabled_at) FROM auth_second_factors WHERE user_id = %s", user_id)
    return int(count)


@pytest.fixture
def app_of_ada(ada: Actor) -> App:
    """An authenticator app that ada has set up."""
    return App.scanning(set_up(ada).get_json())


@pytest.fixture
def service(app: Flask, client_of: ClientOf) -> Flask:
    """The service with mail, so that each notice is a part of its transaction."""
    return client_of(mail=mail_settings()).application


def test_two_enables_at_once_make_one_set_of_recovery_codes(service: Flask) -> None:
    for n in range(5):
        user = Actor(service.test_client(), f"user{n}").register()
        code = App.scanning(set_up(user).get_json()).code()

        answers = at_once(*[partial(enable, user.through(service.test_client()), code)] * 2)

        assert statuses(answers) == {200: 1, 409: 1}
        [refused, enabled] = sorted(answers, key=lambda answer: -answer.status_code)
        assert refused.get_json()["code"] == "two_factor_on"
        for recovery_code in enabled.get_json()["recovery_codes"]:
            assert second_step(user.client, ticket_of(user), recovery_code=recovery_code).status_code == 200


@pytest.mark.parametrize("call", [disable, renew], ids=["disable", "renew"])
def test_one_code_at_once_works_once(app: Flask, sql: Sql, call: Callable[..., Any]) -> None:
    for n in range(5):
        user = Actor(app.test_client(), f"user{n}").register()
        code = enrol(user, sql).code()

        answers = at_once(*[partial(call, user.through(app.test_client()), code=code)] * 2)

        # Whoever comes after a whole disable finds that the factor is off.
        assert sorted(codes(answers)) in (["", "code_invalid"], ["", "two_factor_off"])


@pytest.mark.parametrize("name", CALLS)
def test_enrolment_against_another_call_is_whole_or_nothing(
    settings: Settings, service: Flask, sql: Sql, name: str
) -> None:
    before = deadlocks(settings.db_url)
    for n in range(5):
        user = Actor(service.test_client(), f"user{n}").register()
        other = user.elsewhere().through(service.test_client())
        app = App.scanning(set_up(user).get_json())

        enabled, again, *others = at_once(
            *[partial(enable, user.through(service.test_client()), app.code())] * 2,
            partial(CALLS[name], other),
            partial(set_up, user.through(service.test_client())),
        )

        assert max(statuses([enabled, again, *others])) < 500
        assert statuses([enabled, again])[200] <= 1
        rows = sql(
            "SELECT enabled_at IS NOT NULL, cardinality(recovery_hashes) FROM auth_second_factors"
            " WHERE user_id = %s",
            user.id,
        )
        assert rows in ([], [(False, 0)], [(True, 10)])
        # A row of which nobody was told would lock the owner out.
        assert (rows == [(True, 10)]) <= (statuses([enabled, again])[200] == 1)
    assert deadlocks(settings.db_url) == before


@pytest.mark.parametrize("name", CALLS)
def test_disabling_against_another_call_is_no_deadlock(
    settings: Settings, service: Flask, sql: Sql, name: str
) -> None:
    before = deadlocks(settings.db_url)
    for n in range(5):
        user = Actor(service.test_client(), f"user{n}").register()
        other = user.elsewhere().through(service.test_client())
        app, login = enrol(user, sql), service.test_client()
        ticket = ticket_of(user, login)

        answers = at_once(
            partial(disable, user.through(service.test_client()), code=app.code()),
            partial(renew, user.through(service.test_client()), code=app.code(steps=1)),
            partial(second_step, login, ticket, recovery_code=app.recovery_codes[0]),
            partial(CALLS[name], other),
        )

        assert max(statuses(answers)) < 500
        assert answers[0].status_code != 204 or in_force(sql, user.id) == 0
    assert deadlocks(settings.db_url) == before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            "UPDATE users SET password = 'x'; DELETE FROM auth_sessions", id="change of the password"
        ),
        pytest.param("DELETE FROM users", id="deletion"),
    ],
)
def test_enable_that_waits_for_what_ends_its_session_is_401(
    settings: Settings, app: Flask, ada: Actor, app_of_ada: App, sql: Sql, change: str
) -> None:
    """Account takeover: the owner changes the password, and a thief with an older session enables a setup."""
    code = app_of_ada.code()
    with ThreadPoolExecutor(1) as threads, held_open(settings.db_url, change, commit=True):
        answer = threads.submit(enable, ada.through(app.test_client()), code)
        wait_until_blocked(settings.db_url, 1)

    assert refusal(answer.result()) == TOKEN_INVALID
    assert in_force(sql, ada.id) == 0


@pytest.mark.parametrize("call", ["set up", "disable", "renew"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            "UPDATE users SET password = 'x'; DELETE FROM auth_sessions", TOKEN_INVALID, id="password"
        ),
        pytest.param("DELETE FROM users", TOKEN_INVALID, id="deletion"),
        pytest.param("UPDATE users SET password = 'x'", (403, "wrong_password", None), id="sessions stay"),
    ],
)
def test_call_that_waits_for_a_new_password_changes_nothing(
    settings: Settings, app: Flask, ada: Actor, sql: Sql, call: str, change: str, expected: object
) -> None:
    two_factor = App(b"") if call == "set up" else enrol(ada, sql)
    user, rows = ada.through(app.test_client()), "SELECT auth_second_factors::TEXT FROM auth_second_factors"
    before = sql(rows)
    act = {
        "set up": partial(set_up, user),
        "disable": partial(disable, user, code=two_factor.code()),
        "renew": partial(renew, user, code=two_factor.code()),
    }[call]

    with ThreadPoolExecutor(1) as threads, held_open(settings.db_url, change, commit=True):
        answer = threads.submit(act)
        wait_until_blocked(settings.db_url, 1)

    assert refusal(answer.result()) == expected
    assert sql(rows) == ([] if "DELETE FROM users" in change else before)


def test_enable_of_a_setup_that_is_replaced_meanwhile_is_409(
    settings: Settings, app: Flask, ada: Actor, app_of_ada: App
) -> None:
    newer, enabled = wait_for_both(
        settings.db_url,
        partial(set_up, ada.through(app.test_client())),
        partial(enable, ada.through(app.test_client()), app_of_ada.code()),
        held=f"SELECT FROM users WHERE id = {ada.id} FOR UPDATE",
    )

    assert refusal(enabled) == (409, "setup_required", None)
    assert enable(ada, App.scanning(newer.get_json()).code()).status_code == 200


def test_setup_that_another_enable_overtakes_is_409(
    settings: Settings, app: Flask, ada: Actor, app_of_ada: App
) -> None:
    enabled, setup = wait_for_both(
        settings.db_url,
        partial(enable, ada.through(app.test_client()), app_of_ada.code()),
        partial(set_up, ada.through(app.test_client())),
        held=f"SELECT FROM users WHERE id = {ada.id} FOR UPDATE",
    )

    assert (enabled.status_code, refusal(setup)) == (200, (409, "two_factor_on", None))


def test_code_of_a_factor_that_was_replaced_meanwhile_renews_nothing(
    ada: Actor, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the proof of the code and its use the factor is another one (TOCTOU)."""
    app, use_step = enrol(ada, sql), factors.use_step

    def replace_and_use(*args: Any, **kwargs: Any) -> bool:
        sql("UPDATE auth_second_factors SET secret = 'another'")
        return use_step(*args, **kwargs)

    monkeypatch.setattr(factors, "use_step", replace_and_use)
    hashes = "SELECT recovery_hashes::TEXT FROM auth_second_factors"
    before = sql(hashes)

    assert refusal(renew(ada, code=app.code())) == CODE_INVALID
    assert sql(hashes) == before


@pytest.mark.parametrize(
    ("call", "step", "way"),
    [
        pytest.param(disable, "remove", "code", id="disable with a code"),
        pytest.param(disable, "remove", "recovery_code", id="disable with a recovery code"),
        pytest.param(renew, "replace_recovery_hashes", "code", id="renew"),
    ],
)
def test_failed_act_burns_no_code(
    ada: Actor, sql: Sql, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any], step: str, way: str
) -> None:
    app = enrol(ada, sql)
    typed = {way: app.code() if way == "code" else app.recovery_codes[0]}

    def fail(*_args: object) -> None:
        raise DatabaseUnavailable("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(factors, step, fail)
        failed = call(ada, **typed)

    assert failed.status_code == 503
    assert call(ada, **typed).status_code in (200, 204)


def test_login_that_strengthens_the_hash_meanwhile_is_no_refusal(
    ada: Actor, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stronger = factors.set_up, bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()

    def strengthen_and_store(*args: Any, **kwargs: Any) -> bool:
        monkeypatch.setattr(factors, "set_up", store)
        sql("UPDATE users SET password = %s", stronger)
        return store(*args, **kwargs)

    monkeypatch.setattr(factors, "set_up", strengthen_and_store)

    assert set_up(ada).status_code == 200


def test_factor_stays_in_force_after_a_change_of_the_password(ada: Actor, sql: Sql) -> None:
    app = enrol(ada, sql)
    change = ada.change_password(NEW_PASSWORD, code=app.code())
    forget_steps(sql)

    answer = disable(ada.holding(change.get_json()), password=NEW_PASSWORD, code=app.code())

    assert (change.status_code, answer.status_code) == (200, 204)
