"""A stolen access token is no password oracle: the calls that ask for the password are limited."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.services import Auth
from db import DatabaseUnavailable
from runtime.settings import Rate
from tests.support import PASSWORD
from tests.support.actor import ME, ME_PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, Actor, ClientOf
from tests.support.apps import fill_every_hash_slot
from tests.support.database import Sql
from tests.support.guarded_calls import PASSWORD_CALLS
from tests.support.rows import stored
from tests.support.throttling import HOME, client_at, codes, elapse, guess, keys

FAILED, REFUSED = "wrong_password", "too_many_attempts"
CALLS = [
    pytest.param("PATCH", ME, {"username": "countess", "current_password": WRONG_PASSWORD}, id="PATCH"),
    pytest.param(
        "PUT", ME_PASSWORD, {"current_password": WRONG_PASSWORD, "new_password": NEW_PASSWORD}, id="PUT"
    ),
    pytest.param("DELETE", ME, {"password": WRONG_PASSWORD}, id="DELETE"),
]


@pytest.fixture
def service(client_of: ClientOf) -> Flask:
    return client_of(
        limit_device_failures=Rate(3, "31d"), limit_account_failures=Rate(1, "31d"), lockout_failures=5
    ).application


@pytest.fixture
def home(service: Flask) -> Actor:
    """Ada with her browser at home."""
    return Actor(client_at(service, HOME)).register()


@pytest.fixture
def thief(home: Actor, service: Flask) -> Actor:
    """Somebody else with ada's access token."""
    return home.through(client_at(service))


def tries(actor: Actor, count: int, method: str = "DELETE", path: str = ME, body: Any = None) -> list[str]:
    body = body or {"password": WRONG_PASSWORD}
    return codes([actor.send(method, path, body) for _ in range(count)])


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_guesses_with_an_access_token_are_limited(
    thief: Actor, method: str, path: str, body: dict[str, str]
) -> None:
    assert tries(thief, 5, method, path, body) == [FAILED] * 3 + [REFUSED] * 2


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_right_password_beyond_the_limit_gets_the_same_answer(
    thief: Actor, sql: Sql, method: str, path: str, body: dict[str, str]
) -> None:
    tries(thief, 3)
    before = stored(sql)
    headers = {"X-Request-ID": "same"}
    wrong_body = {name: value.replace(PASSWORD, WRONG_PASSWORD) for name, value in body.items()}

    right, wrong = (thief.send(method, path, each, headers=headers) for each in (body, wrong_body))

    assert (right.status_code, right.get_json()["code"]) == (429, REFUSED)
    assert right.headers["Retry-After"] == str(right.get_json()["retry_after"])
    assert (right.data, str(right.headers)) == (wrong.data, str(wrong.headers))
    assert stored(sql) == before


def test_calls_and_addresses_of_a_session_share_one_budget(thief: Actor, service: Flask) -> None:
    answers = []
    for number, call in enumerate(CALLS * 2):
        elsewhere = thief.through(client_at(service, f"203.0.113.{number}"))
        answers += tries(elsewhere, 1, *call.values)  # type: ignore[arg-type]

    assert answers == [FAILED] * 3 + [REFUSED] * 3


def test_guesses_with_an_access_token_keep_the_owner_from_nothing(
    thief: Actor, home: Actor, service: Flask
) -> None:
    tries(thief, 9)

    assert thief.me().status_code == 200
    assert codes(guess(client_at(service), password=PASSWORD)) == [""]
    assert codes(guess(client_at(service, HOME), password=PASSWORD)) == [""]
    assert home.change_password().status_code == 200


def test_strangers_keep_no_session_from_its_password(thief: Actor, service: Flask) -> None:
    guess(client_at(service), 9)

    assert thief.change_password().status_code == 200


def test_sessions_have_budgets_of_their_own(thief: Actor, service: Flask) -> None:
    other = thief.through(client_at(service, use_cookies=False)).elsewhere()
    tries(thief, 4)

    assert tries(other, 4) == [FAILED] * 3 + [REFUSED]


def test_new_access_token_of_the_session_has_the_same_budget(thief: Actor) -> None:
    tries(thief, 2)
    thief.refresh()

    assert tries(thief, 2) == [FAILED, REFUSED]


def test_right_password_gives_the_budget_back(thief: Actor) -> None:
    answers = tries(thief, 2) + codes([thief.change_profile(username="ada2", current_password=PASSWORD)])

    assert answers + tries(thief, 4) == [FAILED] * 2 + [""] + [FAILED] * 3 + [REFUSED]


def test_session_is_locked_after_failures_in_a_row(thief: Actor, sql: Sql) -> None:
    answers = []
    for _ in range(6):
        answers += tries(thief, 1)
        elapse(sql, 31 * 86400)

    assert answers == [FAILED] * 5 + [REFUSED]
    assert thief.me().status_code == 200


def test_guesses_are_charged_to_the_address_as_well(client_of: ClientOf, ada: Actor) -> None:
    thief = ada.through(client_at(client_of(limit_address_failures=Rate(2, "1h")).application))

    assert tries(thief, 3) == [FAILED, FAILED, "rate_limited"]


@pytest.mark.parametrize(("method", "path", "body"), PASSWORD_CALLS)
def test_call_without_a_hash_slot_is_given_back(
    client_of: ClientOf, ada: Actor, sql: Sql, method: str, path: str, body: object
) -> None:
    client = client_of(limit_device_failures=Rate(1, "31d"))
    fill_every_hash_slot(client.application)
    busy = ada.through(client_at(client.application))

    assert codes([busy.send(method, path, body) for _ in range(3)]) == ["busy"] * 3
    assert sql("SELECT key FROM auth_throttle WHERE failures > 0 OR key LIKE 'a%' AND full_at > now()") == []


def test_call_that_needs_no_password_is_free(thief: Actor, sql: Sql) -> None:
    before = keys(sql)

    answers = [thief.change_profile(first_name=f"Ada {number}") for number in range(9)]

    assert codes(answers) == [""] * 9
    assert keys(sql) == before


def test_deletion_of_a_user_forgets_the_budgets_of_the_account_alone(
    client_of: ClientOf, ada: Actor, client: FlaskClient, sql: Sql
) -> None:
    bob = Actor(client, "bob").register()
    for name in ("ada", "bob"):
        guess(client_at(client.application), username=name)
    guess(client_at(client.application, "127.0.0.1"))
    tries(ada.through(client_at(client.application)), 1)

    assert ada.delete().status_code == 204

    assert keys(sql, f"account {ada.id} ") == []
    assert keys(sql, "account") == [f"account {bob.id} strangers"]


def test_deletion_succeeds_while_its_budgets_cannot_be_forgotten(
    app: Flask, ada: Actor, monkeypatch: pytest.MonkeyPatch, log_lines: list[dict[str, Any]], sql: Sql
) -> None:
    auth: Auth = app.extensions["auth"]
    write = auth.database.write

    def fail_to_forget(query: Any, *args: Any, **kwargs: Any) -> Any:
        if query.__name__ == "forget":
            raise DatabaseUnavailable("the database went away")
        return write(query, *args, **kwargs)

    monkeypatch.setattr(auth.database, "write", fail_to_forget)

    assert ada.delete().status_code == 204
    assert sql("SELECT * FROM users") == []
    assert "limits_not_updated: the database went away" in [line["message"] for line in log_lines]


def test_switched_off_limits_refuse_no_password(client_of: ClientOf, ada: Actor, sql: Sql) -> None:
    sql("DELETE FROM auth_throttle")
    thief = ada.through(client_at(client_of(rate_limits=False, lockout_failures=1).application))

    assert tries(thief, 30) == [FAILED] * 30
    assert keys(sql) == []
