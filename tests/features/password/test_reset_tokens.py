"""Which tokens reset a password, and that any other is refused alike, costs no hash and is limited."""

import json
from collections.abc import Callable
from typing import Any

import bcrypt
import pytest
from flask.testing import FlaskClient

from auth.tokens import one_time
from auth.tokens.one_time import Owner
from runtime.settings import Rate
from tests.support import PASSWORD
from tests.support.actor import NEW_PASSWORD, VALIDATION_FAILED, Actor, ClientOf, refusal
from tests.support.database import Sql
from tests.support.mails import letters, mail_settings
from tests.support.resets import ADAS, LINK_INVALID, RESET, forget, new_token, reset, stored_token
from tests.support.rows import stored
from tests.support.throttling import HOME, client_at, codes

Cause = Callable[[FlaskClient, Actor, Sql], object]


CAUSES: dict[str, Cause] = {
    "expired": lambda _, __, sql: sql("UPDATE auth_one_time_tokens SET expires_at = now()"),
    "used": lambda _, __, sql: sql("UPDATE auth_one_time_tokens SET used_at = now()"),
    "replaced by a newer one": lambda client, _, __: new_token(client),
    "of an email that was changed": lambda _, __, sql: sql("UPDATE users SET email = 'ada@example.org'"),
    "of an email whose case was changed": lambda _, __, sql: sql("UPDATE users SET email = upper(email)"),
    "void since a password change": lambda _, ada, __: ada.change_password("another password"),
    "of a user who is gone": lambda _, ada, __: ada.delete(),
    "void since another reset": lambda client, _, __: reset(client, new_token(client), "another password"),
    "void and purged": lambda _, __, sql: sql("DELETE FROM auth_one_time_tokens"),
}


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_token_is_refused_that_is(
    mailing: FlaskClient, ada: Actor, sql: Sql, token: str, cause: Cause
) -> None:
    cause(mailing, ada, sql)
    before = stored(sql)

    answer = reset(mailing, token)

    assert refusal(answer) == LINK_INVALID
    assert answer.get_json()["error"] == "This link is not valid any more, please ask for a new one."
    assert stored(sql) == before


def test_token_lives_for_the_seconds_of_the_setting(client_of: ClientOf, ada: Actor, sql: Sql) -> None:
    client = client_of(mail=mail_settings(reset_expires_seconds=600))
    elapse = "UPDATE auth_one_time_tokens SET expires_at = expires_at - make_interval(secs => %s)"

    first = new_token(client)
    sql(elapse, 590)
    early = reset(client, first)
    second = new_token(client)
    sql(elapse, 600)
    late = reset(client, second)

    assert (early.status_code, late.status_code) == (204, 400)


def test_request_for_a_newer_link_leaves_the_older_one_until_the_mail_goes_out(
    mailing: FlaskClient, token: str
) -> None:
    """Else anybody could void the link of another user."""
    forget(mailing)

    assert reset(mailing, token).status_code == 204


def test_token_of_another_purpose_is_refused(mailing: FlaskClient, ada: Actor) -> None:
    token = stored_token(mailing, Owner(ada.id, ADAS), purpose=one_time.VERIFY_EMAIL)

    assert refusal(reset(mailing, token)) == LINK_INVALID
    assert ada.is_live()


def test_token_of_an_address_that_is_no_longer_the_users_is_refused(mailing: FlaskClient, ada: Actor) -> None:
    token = stored_token(mailing, Owner(ada.id, "eve@example.com"))

    assert refusal(reset(mailing, token)) == LINK_INVALID


def test_token_resets_the_password_of_its_own_user_alone(
    mailing: FlaskClient, ada: Actor, token: str
) -> None:
    bob = Actor(ada.client, "bob").register()
    token_of_bob = new_token(mailing, bob.email)

    reset(mailing, token_of_bob)

    assert bob.try_log_in(password=NEW_PASSWORD).status_code == 200
    assert ada.try_log_in().status_code == 200
    assert reset(mailing, token).status_code == 204


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param("x", id="short"),
        pytest.param("A" * 43, id="unknown"),
        pytest.param("x" * 60_000, id="long"),
        pytest.param("\U0001f600\u0130\u212a", id="beyond ASCII"),
        pytest.param("' OR TRUE --%s%%", id="SQL"),
        pytest.param(" ", id="blank"),
    ],
)
def test_text_that_is_no_token_is_refused_as_any_other(
    mailing: FlaskClient, token: str, garbage: str
) -> None:
    assert refusal(reset(mailing, garbage)) == LINK_INVALID
    assert refusal(reset(mailing, token + garbage)) == LINK_INVALID
    assert reset(mailing, token).status_code == 204


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param(None, id="null"),
        pytest.param(7, id="number"),
        pytest.param(["x"], id="list"),
        pytest.param({"x": 1}, id="object"),
        pytest.param("x\0", id="NUL"),
        pytest.param("\ud800", id="lone surrogate"),
    ],
)
def test_what_is_no_text_is_400_that_names_the_token(mailing: FlaskClient, value: object) -> None:
    answer = reset(mailing, value)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == {"token"}


@pytest.mark.parametrize("is_of_an_older_email", [False, True], ids=["unknown", "of an older email"])
def test_refused_token_computes_no_hash(
    mailing: FlaskClient, sql: Sql, token: str, monkeypatch: pytest.MonkeyPatch, is_of_an_older_email: bool
) -> None:
    sql("UPDATE users SET email = 'countess@example.com'")
    hashes: list[object] = []
    monkeypatch.setattr(bcrypt, "hashpw", lambda *call: hashes.append(call))

    answer = reset(mailing, token if is_of_an_older_email else "x")

    assert (refusal(answer), hashes) == (LINK_INVALID, [])


def test_refused_tokens_are_limited_by_address_and_live_ones_are_not(client_of: ClientOf, ada: Actor) -> None:
    settings = {"mail": mail_settings(), "limit_address_failures": Rate(2, "2h")}
    client = client_at(client_of(**settings).application)
    token = new_token(client)

    answers = [reset(client, "x") for _ in range(4)]

    assert codes(answers) == ["link_invalid"] * 2 + ["rate_limited"] * 2
    assert answers[-1].headers["Retry-After"] == "3600"
    assert codes([reset(client_at(client.application, HOME), "x"), reset(client, token)]) == [
        "link_invalid",
        "",
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_mail_scanner_that_opens_the_address_consumes_nothing(
    mailing: FlaskClient, token: str, method: str
) -> None:
    answer = mailing.open(f"{RESET}?token={token}", method=method)

    assert answer.status_code == (204 if method == "OPTIONS" else 405)
    assert reset(mailing, token).status_code == 204


def test_token_in_the_url_is_not_read(mailing: FlaskClient, token: str) -> None:
    answer = mailing.post(f"{RESET}?token={token}", json={"new_password": NEW_PASSWORD})

    assert answer.get_json()["fields"].keys() == {"token"}


def test_no_secret_is_logged(mailing: FlaskClient, ada: Actor, log_lines: list[dict[str, Any]]) -> None:
    token = new_token(mailing)

    mailing.get(f"{RESET}?token={token}")
    reset(mailing, token, "password1")
    reset(mailing, token, "short")
    reset(mailing, token + "x")
    reset(mailing, token)
    reset(mailing, token)

    text = json.dumps(log_lines)
    assert len(log_lines) >= 6
    assert [secret for secret in (token, PASSWORD, NEW_PASSWORD, ADAS) if secret in text] == []


def test_database_has_no_token_that_could_be_used(mailing: FlaskClient, ada: Actor, sql: Sql) -> None:
    forget(mailing)
    before = sql("SELECT auth_outbox::text FROM auth_outbox")
    [letter] = letters(mailing.application)
    token = letter.link.partition("#token=")[2]

    rows = sql("SELECT token_hash, auth_one_time_tokens::text FROM auth_one_time_tokens")

    [(token_hash, row)] = rows
    assert token not in str(before) + row
    for text in (bytes(token_hash).hex(), row):
        assert refusal(reset(mailing, text)) == LINK_INVALID
