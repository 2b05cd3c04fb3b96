"""The two tokens of a session. The time is an argument."""

from datetime import datetime, timedelta, timezone
from typing import Any

import jwt
import pytest

from auth.sessions import SessionGrant
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


def issue(*, seconds_left: float = LONG, **changes: Any) -> token_pairs.TokenPair:
    session = SessionGrant(9, 7, "ada@x.io", NOW + timedelta(seconds=seconds_left))
    return token_pairs.issue(REFRESH, session, settings=settings_with(**changes), now=NOW)


def claims_of(pair: token_pairs.TokenPair) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        pair.token, SECRET_KEY, algorithms=["HS256"], options={"verify_exp": False}
    )
    return claims


def test_idle_expiry_is_the_settings_seconds_from_now() -> None:
    end = token_pairs.idle_expiry(settings_with(refresh_expires_seconds=60), NOW)

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
