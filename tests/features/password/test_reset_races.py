"""A reset that meets other calls: one of them wins, nothing is half done, and there is no deadlock."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from flask.testing import FlaskClient

from config import Settings
from tests.support.actor import Actor
from tests.support.database import Sql, run_sql
from tests.support.mails import letters
from tests.support.queries import count_connections, wait_until
from tests.support.races import at_once, statuses, wait_for_both
from tests.support.resets import forget, new_token, reset
from tests.support.throttling import client_at, guess

LOCKED_USER = "SELECT FROM users FOR UPDATE"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture(autouse=True)
def no_deadlock(mailing: FlaskClient, client: FlaskClient, settings: Settings) -> Iterator[None]:
    """Fail a test during which PostgreSQL broke a deadlock. A backend reports its own when it ends."""

    def count() -> int:
        for each in (mailing, client):
            each.application.extensions["auth"].database.close()
        wait_until(
            settings.db_url,
            "count(*) = 0 FROM pg_stat_activity"
            " WHERE application_name = 'user-service' AND datname = current_database()",
        )
        assert count_connections(settings.db_url) == 0
        return int(run_sql(settings.db_url, DEADLOCKS)[0][0])

    before = count()
    yield
    assert count() == before


def browser(client: FlaskClient) -> FlaskClient:
    """Return another browser on the same service: a thread of its own uses it."""
    return client.application.test_client()


def test_of_two_resets_with_one_token_one_wins(mailing: FlaskClient, ada: Actor, sql: Sql) -> None:
    passwords = ["first password", "second password"]
    for _ in range(10):
        token = new_token(mailing)

        answers = at_once(*(partial(reset, browser(mailing), token, password) for password in passwords))

        assert statuses(answers) == {204: 1, 400: 1}
        logins = [ada.try_log_in(password=password).status_code for password in passwords]
        assert logins == [{204: 200, 400: 401}[answer.status_code] for answer in answers]
        [loser] = [answer for answer in answers if answer.status_code == 400]
        assert loser.get_json()["code"] == "link_invalid"
        assert sql("SELECT count(*) FROM auth_outbox") == [(1,)]
        assert [letter.kind for letter in letters(mailing.application)] == ["password_reset"]


def test_two_resets_that_both_found_the_token_use_it_once(
    mailing: FlaskClient, settings: Settings, token: str
) -> None:
    calls = [partial(reset, browser(mailing), token) for _ in range(2)]

    answers = wait_for_both(settings.db_url, *calls, held=LOCKED_USER)

    assert statuses(answers) == {204: 1, 400: 1}


@pytest.mark.parametrize("reset_is_first", [True, False])
def test_login_with_the_old_password_at_the_same_time_leaves_no_session(
    mailing: FlaskClient, ada: Actor, settings: Settings, token: str, reset_is_first: bool
) -> None:
    calls: list[Callable[[], Any]] = [partial(reset, browser(mailing), token), ada.try_log_in]

    answers = wait_for_both(
        settings.db_url, *(calls if reset_is_first else reversed(calls)), held=LOCKED_USER
    )

    done, login = answers if reset_is_first else reversed(answers)
    assert done.status_code == 204
    assert login.status_code == (401 if reset_is_first else 200)
    if login.status_code == 200:
        assert ada.holding(login.get_json()).is_over()


@pytest.mark.parametrize("reset_is_first", [True, False])
def test_of_a_reset_and_a_password_change_one_wins(
    mailing: FlaskClient, ada: Actor, settings: Settings, token: str, reset_is_first: bool
) -> None:
    calls: list[Callable[[], Any]] = [
        partial(reset, browser(mailing), token, "by the reset"),
        partial(ada.change_password, "by the change"),
    ]

    answers = wait_for_both(
        settings.db_url, *(calls if reset_is_first else reversed(calls)), held=LOCKED_USER
    )

    done, change = answers if reset_is_first else reversed(answers)
    assert (done.status_code, change.status_code) == ((204, 401) if reset_is_first else (400, 200))
    winner = "by the reset" if reset_is_first else "by the change"
    assert ada.try_log_in(password=winner).status_code == 200


def test_email_that_is_changed_while_the_reset_waits_makes_it_void(
    mailing: FlaskClient, ada: Actor, settings: Settings, token: str
) -> None:
    change = partial(ada.change_profile, email="countess@example.com", current_password=ada.password)

    changed, done = wait_for_both(
        settings.db_url, change, partial(reset, browser(mailing), token), held=LOCKED_USER
    )

    assert (changed.status_code, done.status_code) == (200, 400)
    assert ada.try_log_in().status_code == 200


def test_user_who_is_deleted_while_the_reset_waits_is_gone(
    mailing: FlaskClient, ada: Actor, settings: Settings, sql: Sql, token: str
) -> None:
    deleted, done = wait_for_both(
        settings.db_url, ada.delete, partial(reset, browser(mailing), token), held=LOCKED_USER
    )

    assert (deleted.status_code, done.status_code) == (204, 400)
    assert sql("SELECT id FROM users") == []


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda user, _: user.try_refresh(), id="refresh"),
        pytest.param(lambda user, _: user.revoke_other_sessions(), id="revoke others"),
        pytest.param(lambda user, _: user.log_out(), id="logout"),
        pytest.param(lambda _, client: forget(client), id="forgot"),
        pytest.param(lambda _, client: guess(client, 3)[-1], id="wrong passwords"),
        pytest.param(lambda user, _: user.try_log_in(), id="login"),
        pytest.param(lambda user, _: user.delete(), id="delete"),
    ],
)
def test_reset_beside_other_calls_is_no_deadlock(
    mailing: FlaskClient, ada: Actor, other: Callable[[Actor, FlaskClient], Any]
) -> None:
    for _ in range(5):
        if ada.try_log_in().status_code != 200:
            break  # deleted
        user, token = ada.elsewhere(), new_token(mailing)
        calls = [partial(other, user, client_at(mailing.application, use_cookies=False)) for _ in range(3)]

        answers = at_once(partial(reset, browser(mailing), token, ada.password), *calls)

        letters(mailing.application)
        assert max(statuses(answers)) < 500
        assert answers[0].status_code in (204, 400)


def test_reset_beside_the_mail_with_a_newer_link_is_no_deadlock(mailing: FlaskClient, ada: Actor) -> None:
    for _ in range(10):
        token = new_token(mailing)
        forget(mailing)

        done, _ = at_once(
            partial(reset, browser(mailing), token, ada.password), partial(letters, mailing.application)
        )

        assert done.status_code in (204, 400)
