"""The session that is to be opened, and the two tokens of one: at a time of our choosing."""

from datetime import datetime, timedelta, timezone
from typing import Any

import jwt
import pytest

from auth.sessions import NewSession, SessionGrant
from auth.tokens import pair as token_pairs
from auth.tokens import refresh as refresh_tokens
from auth.tokens.refresh import RefreshToken
from config import Settings

KEY = "a-key-for-tests-that-is-longer-than-32-bytes"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
REFRESH = RefreshToken(b"h" * 16, b"s" * 32)


def settings_of(**changes: Any) -> Settings:
    return Settings(db_url="postgresql://unused", secret_key=KEY, **changes)


def opened(*, ip: str = "203.0.113.9", user_agent: str = "Firefox", **changes: Any) -> NewSession:
    settings = settings_of(**changes)
    return token_pairs.new_session(REFRESH, settings=settings, now=NOW, ip=ip, user_agent=user_agent)


def issued(*, seconds_left: float, **changes: Any) -> token_pairs.TokenPair:
    live = SessionGrant(9, 7, "ada@x.io", NOW + timedelta(seconds=seconds_left))
    return token_pairs.issue(REFRESH, live, settings=settings_of(**changes), now=NOW)


def claims_of(pair: token_pairs.TokenPair) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(pair.token, KEY, algorithms=["HS256"], options={"verify_exp": False})
    return claims


def test_new_refresh_token_is_random_in_both_parts() -> None:
    made = [token_pairs.new_refresh_token() for _ in range(100)]

    assert len({token.handle for token in made}) == 100
    assert len({token.secret for token in made}) == 100
    assert {(len(token.handle), len(token.secret)) for token in made} == {(16, 32)}


def test_new_session_holds_only_hashes_of_its_token() -> None:
    session = opened()

    assert (session.handle_hash, session.token_hash) == (REFRESH.selector_hash(), REFRESH.hash())
    assert REFRESH.text() not in str(vars(session))


def test_new_session_does_not_show_its_hashes() -> None:
    session = opened()

    assert repr(session.handle_hash) not in repr(session)
    assert repr(session.token_hash) not in repr(session)


def test_new_session_lasts_14_days_unless_refreshed_and_30_in_all() -> None:
    session = opened()

    assert session.now == NOW
    assert session.valid_until == NOW + timedelta(days=14)
    assert session.expires_at == NOW + timedelta(days=30)


def test_new_session_lasts_as_long_as_the_settings_say() -> None:
    session = opened(refresh_expires_seconds=60, session_max_seconds=90)

    assert session.valid_until == NOW + timedelta(seconds=60)
    assert session.expires_at == NOW + timedelta(seconds=90)


def test_new_session_is_never_valid_after_its_end() -> None:
    session = opened(refresh_expires_seconds=90, session_max_seconds=60)

    assert session.valid_until == session.expires_at == NOW + timedelta(seconds=60)


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
    assert opened(user_agent=sent).user_agent == kept


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        pytest.param("203.0.113.9", "203.0.113.9", id="IPv4"),
        pytest.param("2001:db8::1", "2001:db8::1", id="IPv6"),
        pytest.param("", "", id="none"),
    ],
)
def test_new_session_keeps_the_address(address: str, kept: str) -> None:
    assert opened(ip=address).ip == kept


def test_next_end_is_the_settings_seconds_from_now() -> None:
    end = token_pairs.next_end(settings_of(refresh_expires_seconds=60), NOW)

    assert end == NOW + timedelta(seconds=60)


def test_issue_names_the_user_and_the_session() -> None:
    claims = claims_of(issued(seconds_left=10**6))

    assert (claims["id"], claims["sub"], claims["email"], claims["sid"]) == (7, "7", "ada@x.io", 9)
    assert claims["iat"] == int(NOW.timestamp())


def test_issue_hands_out_the_refresh_token_in_full() -> None:
    pair = issued(seconds_left=10**6)

    assert refresh_tokens.parse(pair.refresh_token) == REFRESH


def test_issue_never_makes_the_same_access_token_twice() -> None:
    assert len({claims_of(issued(seconds_left=10**6))["jti"] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("seconds_left", "access", "refresh"),
    [
        pytest.param(1000.0, 100, 1000, id="long before the end"),
        pytest.param(100.0, 100, 100, id="just enough for the access token"),
        pytest.param(99.0, 99, 99, id="not enough for it"),
        pytest.param(1.99, 1, 1, id="rounded down"),
        pytest.param(0.5, 0, 0, id="the last second"),
    ],
)
def test_issue_lets_neither_token_outlive_the_session(seconds_left: float, access: int, refresh: int) -> None:
    pair = issued(seconds_left=seconds_left, jwt_expires_seconds=100)

    claims = claims_of(pair)
    assert (pair.expires_in, pair.refresh_expires_in) == (access, refresh)
    assert claims["exp"] - claims["iat"] == access


def test_pair_does_not_show_its_tokens() -> None:
    pair = issued(seconds_left=10**6)

    assert pair.token not in repr(pair)
    assert pair.refresh_token not in repr(pair)
