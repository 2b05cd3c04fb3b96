"""POST /api/auth/password/forgot: what is queued, what is mailed, and that the answer tells nothing."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from auth.throttling import keys
from runtime.settings import Rate
from tests.support import SECRET_KEY
from tests.support.actor import VALIDATION_FAILED, Actor, ClientOf, refusal
from tests.support.apps import NO_DATABASE, app_on
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings, token_of
from tests.support.registrations import email_of
from tests.support.resets import ADAS, FORGOT, RESET, forget
from tests.support.throttling import HOME, client_at, codes


def outbox(sql: Sql) -> list[tuple[Any, ...]]:
    return sql("SELECT kind, user_id, recipient, details::text FROM auth_outbox ORDER BY id")


def test_link_is_mailed_to_the_user(mailing: FlaskClient, ada: Actor) -> None:
    answer = forget(mailing)

    [letter] = letters(mailing.application)
    assert (answer.status_code, answer.get_json()) == (202, {})
    assert (letter.kind, letter.user.id, letter.recipient) == ("reset_password", ada.id, ADAS)
    assert letter.link == f"https://app.streamly.example/reset-password#token={token_of(letter)}"
    assert len(token_of(letter)) == 43
    assert letter.expires_seconds == 1800


@pytest.mark.parametrize("email", [ADAS, "nobody@example.com"])
def test_queued_mail_has_the_typed_address_and_no_user(
    mailing: FlaskClient, ada: Actor, sql: Sql, email: str
) -> None:
    forget(mailing, f" {email.upper()}\n")

    assert outbox(sql) == [("reset_password", None, email, "{}")]


def test_unknown_address_gets_no_mail(mailing: FlaskClient, ada: Actor, sql: Sql) -> None:
    answer = forget(mailing, "nobody@example.com")

    assert (answer.status_code, letters(mailing.application)) == (202, [])
    assert (outbox(sql), sql("SELECT user_id FROM auth_one_time_tokens")) == ([], [])


def test_mail_goes_to_the_address_as_it_is_stored(mailing: FlaskClient, ada: Actor, sql: Sql) -> None:
    sql("UPDATE users SET email = 'Ada@Example.COM'")

    forget(mailing, "aDA@eXAMPLE.com")

    assert [letter.recipient for letter in letters(mailing.application)] == ["Ada@Example.COM"]


def test_user_who_is_deleted_meanwhile_gets_no_mail(mailing: FlaskClient, ada: Actor) -> None:
    forget(mailing)
    ada.delete()

    assert letters(mailing.application) == []


def test_answer_is_the_same_whoever_has_the_address(mailing: FlaskClient, ada: Actor, sql: Sql) -> None:
    names = ("unverified", "verified", "used-up")
    users = {name: Actor(ada.client, name).register() for name in names}
    sql("INSERT INTO auth_emails VALUES (%s, 'verified@example.com')", users["verified"].id)
    key = keys.mailbox("used-up@example.com", key=SECRET_KEY)
    sql("INSERT INTO auth_throttle (key, full_at) VALUES (%s, 'infinity')", key)

    answers = [
        mailing.post(FORGOT, json={"email": f"{name}@example.com"}, headers={"X-Request-ID": "same"})
        for name in (*names, "nobody")
    ]

    assert len({(answer.status, answer.data, str(answer.headers)) for answer in answers}) == 1
    assert (answers[0].status_code, answers[0].data) == (202, b"{}\n")
    assert "Set-Cookie" not in answers[0].headers


@pytest.mark.parametrize("path", [FORGOT, RESET])
@pytest.mark.parametrize("call", [{"json": {}}, {"data": "{"}, {"json": {"email": ADAS, "token": "x"}}])
def test_service_without_mail_offers_neither_call(path: str, call: dict[str, Any]) -> None:
    client = app_on(NO_DATABASE).test_client()

    answer = client.post(path, **call)

    assert refusal(answer) == (404, "feature_off", None)


@pytest.mark.parametrize(
    "email",
    [
        pytest.param("", id="empty"),
        pytest.param(None, id="null"),
        pytest.param(7, id="number"),
        pytest.param(["ada@example.com"], id="list"),
        pytest.param("ada", id="username"),
        pytest.param("ada@example.com\nBcc: eve@example.com", id="header injection"),
        pytest.param("ada@example.com,eve@example.com", id="two"),
        pytest.param("Ada <ada@example.com>", id="with a name"),
        pytest.param("ad\u00e4@example.com", id="beyond ASCII"),
        pytest.param("ada\0@example.com", id="NUL"),
        pytest.param("ada\ud800@example.com", id="lone surrogate"),
        pytest.param(email_of(256), id="long"),
    ],
)
def test_what_is_no_address_is_400_and_queues_nothing(
    mailing: FlaskClient, ada: Actor, sql: Sql, email: object
) -> None:
    answer = forget(mailing, email)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == {"email"}
    assert outbox(sql) == []


def test_longest_address_is_queued(mailing: FlaskClient, sql: Sql) -> None:
    forget(mailing, email_of(255))

    assert [recipient for _, _, recipient, _ in outbox(sql)] == [email_of(255)]


def test_calls_are_limited_by_address(client_of: ClientOf, ada: Actor, sql: Sql) -> None:
    app = client_of(mail=mail_settings(limit_mail_requests=Rate(2, "2h"))).application
    client = client_at(app)

    answers = [forget(client, email) for email in (ADAS, "nobody@example.com", ADAS, "else@example.com")]

    assert codes(answers) == ["", "", "rate_limited", "rate_limited"]
    assert answers[-1].headers["Retry-After"] == "3600"
    assert len(outbox(sql)) == 2
    assert codes([forget(client_at(app, HOME))]) == [""]


def test_bad_address_is_free(client_of: ClientOf, sql: Sql) -> None:
    client = client_of(mail=mail_settings(limit_mail_requests=Rate(1, "1h")))

    answers = [forget(client, "x") for _ in range(3)] + [forget(client)]

    assert codes(answers) == ["validation_failed"] * 3 + [""]


def test_switched_off_limits_limit_no_calls(client_of: ClientOf, sql: Sql) -> None:
    sql("DELETE FROM auth_throttle")
    client = client_of(mail=mail_settings(limit_mail_requests=Rate(1, "1h")), rate_limits=False)

    answers = [forget(client) for _ in range(5)]

    assert codes(answers) == [""] * 5
    assert sql("SELECT key FROM auth_throttle") == []


def test_sender_is_woken(mailing: FlaskClient, woken: list[str]) -> None:
    forget(mailing, "x")
    assert woken == []

    forget(mailing)
    assert woken == ["woken"]
