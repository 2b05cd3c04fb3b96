"""What a new session holds. The time is an argument."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from auth import sign_in
from auth.client import Client
from auth.sessions import NewSession
from auth.tokens.refresh import RefreshToken
from config import Settings
from tests.support import SECRET_KEY

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
REFRESH = RefreshToken(b"h" * 16, b"s" * 32)


def settings_with(**changes: Any) -> Settings:
    return Settings(db_url="postgresql://unused", secret_key=SECRET_KEY, **changes)


def new_session(*, ip: str = "203.0.113.9", user_agent: str = "Firefox", **changes: Any) -> NewSession:
    settings = settings_with(**changes)
    return sign_in.new_session(REFRESH, client=Client(ip, user_agent), settings=settings, now=NOW)


def test_new_session_holds_only_hashes_of_its_token() -> None:
    session = new_session()

    assert (session.selector_hash, session.token_hash) == (REFRESH.selector_hash(), REFRESH.hash())
    assert REFRESH.text() not in str(vars(session))


def test_new_session_does_not_show_its_hashes() -> None:
    session = new_session()

    assert repr(session.selector_hash) not in repr(session)
    assert repr(session.token_hash) not in repr(session)


def test_new_session_ends_14_days_after_its_last_refresh_and_30_after_its_login() -> None:
    session = new_session()

    assert session.now == NOW
    assert session.idle_expires_at == NOW + timedelta(days=14)
    assert session.expires_at == NOW + timedelta(days=30)


def test_new_session_lasts_as_long_as_the_settings_say() -> None:
    session = new_session(refresh_expires_seconds=60, session_max_seconds=90)

    assert session.idle_expires_at == NOW + timedelta(seconds=60)
    assert session.expires_at == NOW + timedelta(seconds=90)


def test_new_session_never_ends_after_its_last_moment() -> None:
    session = new_session(refresh_expires_seconds=90, session_max_seconds=60)

    assert session.idle_expires_at == session.expires_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param("", "", id="none"),
        pytest.param("Firefox/140.0", "Firefox/140.0", id="short"),
        pytest.param("a" * 200, "a" * 200, id="200 characters"),
        pytest.param("a" * 200 + "b", "a" * 200, id="201 characters"),
        pytest.param("a" * 8000, "a" * 200, id="endless"),
        pytest.param("caf\u00e9 \u20ac \U0001f600", "caf? ? ?", id="characters that a database may lack"),
        pytest.param("\u00e9" * 300, "?" * 200, id="counted in characters"),
    ],
)
def test_new_session_keeps_200_characters_of_the_user_agent(sent: str, kept: str) -> None:
    assert new_session(user_agent=sent).user_agent == kept


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("203.0.113.9", id="IPv4"),
        pytest.param("2001:db8::1", id="IPv6"),
        pytest.param("", id="none"),
    ],
)
def test_new_session_keeps_the_address(address: str) -> None:
    assert new_session(ip=address).ip == address
