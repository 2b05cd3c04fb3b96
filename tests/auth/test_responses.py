"""The bodies of answers, made from rows."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from auth import responses
from auth.tokens.pair import TokenPair
from auth.users import User
from runtime import clock

AT = datetime(2026, 1, 2, 3, 4, 5, 678901)
PAIR = TokenPair("t", 60, "r", 120)
PAIR_BODY = {
    "token": "t",
    "type": "Bearer",
    "expires_in": 60,
    "refresh_token": "r",
    "refresh_expires_in": 120,
}
BODY = {
    "id": 7,
    "username": "Ada",
    "email": "ada@x.io",
    "email_verified": False,
    "two_factor": False,
    "first_name": "Ada",
    "last_name": "King",
    "created_at": "2026-01-02T03:04:05.678Z",
    "firstName": "Ada",
    "lastName": "King",
    "createdAt": "2026-01-02T03:04:05.678Z",
}


def user_of(first: str | None = "Ada", last: str | None = "King", at: datetime | None = AT) -> User:
    return User(7, "Ada", "ada@x.io", first, last, at)


def test_user_has_both_spellings() -> None:
    assert responses.user(user_of()) == BODY


@pytest.mark.parametrize("name", [None, ""])
def test_user_without_names_has_empty_ones(name: str | None) -> None:
    body = responses.user(user_of(name, name))

    assert [body[key] for key in ("first_name", "last_name", "firstName", "lastName")] == [""] * 4


def test_user_with_a_pending_email_has_it() -> None:
    row = replace(user_of(), email_verified=True, pending_email="ada@y.io")

    assert responses.user(row) == BODY | {"email_verified": True, "pending_email": "ada@y.io"}


def test_user_with_a_second_factor_says_so() -> None:
    assert responses.user(replace(user_of(), two_factor=True)) == BODY | {"two_factor": True}


def test_user_without_a_creation_time_has_null() -> None:
    body = responses.user(user_of(at=None))

    assert (body["created_at"], body["createdAt"]) == (None, None)


def test_login_has_the_token_and_the_user() -> None:
    body = responses.login(user_of(), PAIR)

    assert body == PAIR_BODY | {"user": BODY}


def test_registration_has_what_an_older_client_reads() -> None:
    body = responses.registration(user_of(), PAIR)

    assert body == PAIR_BODY | {
        "message": "User registered successfully",
        "userId": 7,
        "username": "Ada",
        "user": BODY,
    }


@pytest.mark.parametrize(
    ("at", "text"),
    [
        pytest.param(AT, "2026-01-02T03:04:05.678Z", id="naive is UTC"),
        pytest.param(AT.replace(tzinfo=timezone.utc), "2026-01-02T03:04:05.678Z", id="aware in UTC"),
        pytest.param(
            AT.replace(tzinfo=timezone(timedelta(hours=5, minutes=30))), "2026-01-01T21:34:05.678Z", id="east"
        ),
        pytest.param(AT.replace(tzinfo=timezone(timedelta(hours=-8))), "2026-01-02T11:04:05.678Z", id="west"),
        pytest.param(AT.replace(microsecond=0), "2026-01-02T03:04:05.000Z", id="whole second"),
        pytest.param(AT.replace(microsecond=999999), "2026-01-02T03:04:05.999Z", id="never rounded up"),
        pytest.param(AT.replace(year=999), "0999-01-02T03:04:05.678Z", id="year of three digits"),
    ],
)
def test_utc_is_iso_8601_with_milliseconds_and_z(at: datetime, text: str) -> None:
    assert clock.to_iso(at) == text
