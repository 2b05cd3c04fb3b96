"""A new session, and the two tokens of a session. The time is an argument."""

from datetime import datetime, timedelta, timezone
from typing import Any

import jwt
import pytest

from auth.sessions import NewSession, SessionGrant
from auth.tokens import pair as token_pairs
from auth.tokens import refresh as refresh_tokens
from auth.tokens.refresh import RefreshToken
from config import Settings
from tests.support import SECRET_KEY

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
REFRESH = RefreshToken(b"h" * 16, b"s" * 32)
LONG = 10**6


def settings_with(**changes: Any) -> Settings:
    return Settings(db_url="postgresql://unused", secret_key=SECRET_KEY, **changes)


def new_session(*, ip: str = "203.0.113.9", user_agent: str = "Firefox", **changes: Any) -> NewSession:
    settings = settings_with(**changes)
    return token_pairs.new_session(REFRESH, settings=settings, now=NOW, ip=ip, user_agent=user_agent)


def issue(*, seconds_left: float = LONG, **changes: Any) -> token_pairs.TokenPair:
    session = SessionGrant(9, 7, "ada@x.io", NOW + timedelta(seconds=seconds_left))
    return token_pairs.issue(REFRESH, session, settings=settings_with(**changes), now=NOW)


def claims_of(pair: token_pairs.TokenPair) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        pair.token, SECRET_KEY, algorithms=["HS256"], options={"verify_exp": False}
    )
    return claims


def test_new_refresh_token_is_random_in_both_parts() -> None:
    tokens = [token_pairs.new_refresh_token() for _ in range(100)]

    assert len({token.handle for token in tokens}) == 100
    assert len({token.secret for token in tokens}) == 100
    assert {(len(token.handle), len(token.secret)) for token in tokens} == {(16, 32)}


def test_new_session_holds_only_hashes_of_its_token() -> None:
    session = new_session()

    assert (session.handle_hash, session.token_hash) == (REFRESH.selector_hash(), REFRESH.hash())
    assert REFRESH.text() not in str(vars(session))


def test_new_session_does_not_show_its_hashes() -> None:
    session = new_session()

    assert repr(session.handle_hash) not in repr(session)
    assert repr(session.token_hash) not in repr(session)


def test_new_session_ends_14_days_after_its_last_refresh_and_30_after_its_login() -> None:
    session = new_session()

    assert session.now == NOW
    assert session.valid_until == NOW + timedelta(days=14)
    assert session.expires_at == NOW + timedelta(days=30)


def test_new_session_lasts_as_long_as_the_settings_say() -> None:
    session = new_session(refresh_expires_seconds=60, session_max_seconds=90)

    assert session.valid_until == NOW + timedelta(seconds=60)
    assert session.expires_at == NOW + timedelta(seconds=90)


def test_new_session_is_never_valid_after_its_end() -> None:
    session = new_session(refresh_expires_seconds=90, session_max_seconds=60)

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


def test_next_end_is_the_settings_seconds_from_now() -> None:
    end = token_pairs.next_end(settings_with(refresh_expires_seconds=60), NOW)

    assert end == NOW + timedelta(seconds=60)


def test_issue_names_the_user_and_the_session() -> None:
    claims = claims_of(issue())

    assert (claims["id"], claims["sub"], claims["email"], claims["sid"]) == (7, "7", "ada@x.io", 9)
    assert claims["iat"] == int(NOW.timestamp())


def test_issue_hands_out_the_whole_refresh_token() -> None:
    pair = issue()

    assert refresh_tokens.parse(pair.refresh_token) == REFRESH


def test_issue_never_makes_the_same_access_token_twice() -> None:
    token_ids = {claims_of(issue())["jti"] for _ in range(100)}

    assert len(token_ids) == 100


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
    pair = issue(seconds_left=seconds_left, jwt_expires_seconds=100)

    claims = claims_of(pair)
    assert (pair.expires_in, pair.refresh_expires_in) == (access, refresh)
    assert claims["exp"] - claims["iat"] == access


def test_pair_does_not_show_its_tokens() -> None:
    pair = issue()

    assert pair.token not in repr(pair)
    assert pair.refresh_token not in repr(pair)
