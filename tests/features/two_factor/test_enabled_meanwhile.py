"""A second factor that is enabled while a password is verified (TOCTOU)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from config import Settings
from tests.support.actor import Actor, refusal
from tests.support.database import Sql, held_open
from tests.support.guarded_calls import PASSWORD_CALLS
from tests.support.races import wait_until_blocked
from tests.support.rows import session_ids, stored
from tests.support.second_factors import App, enable, first_step, set_up


@pytest.fixture
def during_the_hash(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have something happen once, while the next password is verified."""

    def arrange(act: Any) -> None:
        passwords = app.extensions["auth"].passwords
        verify = passwords.verify

        def act_and_verify(*args: Any) -> bool:
            monkeypatch.setattr(passwords, "verify", verify)
            act()
            return bool(verify(*args))

        monkeypatch.setattr(passwords, "verify", act_and_verify)

    return arrange


def test_factor_that_is_enabled_during_a_login_is_due(ada: Actor, sql: Sql, during_the_hash: Any) -> None:
    """Race (TOCTOU): the login has read that there is no second factor."""
    code, before = App.scanning(set_up(ada).get_json()).code(), session_ids(sql)
    during_the_hash(lambda: enable(ada, code))

    answer = first_step(ada)

    assert (answer.status_code, answer.get_json()["code"]) == (401, "second_factor_required")
    assert session_ids(sql) == before


def test_factor_that_is_enabled_while_a_login_waits_for_the_user_is_due(
    ada: Actor, settings: Settings, sql: Sql
) -> None:
    """Race (TOCTOU): the statement that opens the session has begun before the commit."""
    set_up(ada)
    before = session_ids(sql)
    enabling = (
        "SELECT FROM users FOR NO KEY UPDATE;"
        " UPDATE auth_second_factors SET enabled_at = now(), recovery_hashes = '{}'"
    )

    with ThreadPoolExecutor(1) as threads:
        with held_open(settings.db_url, enabling, commit=True):
            login = threads.submit(first_step, ada)
            wait_until_blocked(settings.db_url, 1)
        answer = login.result()

    assert (answer.status_code, answer.get_json()["code"]) == (401, "second_factor_required")
    assert session_ids(sql) == before


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_factor_that_is_enabled_during_a_call_is_due(
    ada: Actor, sql: Sql, during_the_hash: Any, method: str, path: str, body: dict[str, str]
) -> None:
    code = App.scanning(set_up(ada).get_json()).code()
    before = stored(sql)
    during_the_hash(lambda: enable(ada, code))

    answer = ada.send(method, path, body)

    assert refusal(answer) == (403, "code_invalid", None)
    assert "code" in answer.get_json()["fields"]
    assert stored(sql) == before
