"""Issuing and verifying the access token. The time is an argument."""

import hmac
import time
from typing import Any

import jwt
import pytest

from auth.tokens import access
from tests.support import SECRET_KEY
from tests.support.access_tokens import decoded, encoded
from tests.support.access_tokens import signed as signed_with

NOW = 1_800_000_000.75
EXPIRES_AT = 1_800_003_600  # of a token that issue() returns


def signed(**claims: object) -> str:
    """Return a token with exactly `claims`, and without `typ`."""
    return signed_with(claims, typ=...)


def issue() -> str:
    return access.issue(
        7, "ada@x.io", session_id=3, key=SECRET_KEY, now=NOW, ttl_seconds=3600, token_id="unique"
    )


def verify(token: str, *, key: str = SECRET_KEY, now: float = NOW) -> access.Claims:
    return access.verify(token, key=key, now=now, max_ttl_seconds=3600)


def test_issue_signs_exactly_the_claims_of_the_contract() -> None:
    header, claims, _ = issue().split(".")

    assert decoded(header) == {"alg": "HS256", "typ": "at+jwt"}
    assert decoded(claims) == {
        "id": 7,
        "email": "ada@x.io",
        "sub": "7",
        "sid": 3,
        "iat": 1_800_000_000,
        "exp": EXPIRES_AT,
        "jti": "unique",
    }


def test_issue_signs_with_hmac_sha256() -> None:
    message, _, signature = issue().rpartition(".")

    assert signature == encoded(hmac.digest(SECRET_KEY.encode(), message.encode(), "sha256"))


def test_verify_returns_the_user_and_the_session_of_an_issued_token() -> None:
    claims = verify(issue())

    assert (claims.user_id, claims.session_id) == (7, 3)


@pytest.mark.parametrize(
    "sid",
    [
        pytest.param(0, id="0"),
        pytest.param(-1, id="negative"),
        pytest.param(True, id="boolean"),
        pytest.param("3", id="string"),
        pytest.param(1.0, id="float"),
        pytest.param(2**63, id="past BIGINT"),
        pytest.param([3], id="list"),
    ],
)
def test_verify_refuses_a_sid_that_is_no_session_id(sid: object) -> None:
    token = signed(id=7, exp=NOW + 60, sid=sid)

    with pytest.raises(access.TokenInvalid):
        verify(token)


def test_verify_accepts_a_token_without_a_session() -> None:
    claims = verify(signed(id=7, exp=NOW + 60))

    assert claims.session_id is None


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(NOW, id="at once"),
        pytest.param(NOW + 3600, id="at its end"),
        pytest.param(EXPIRES_AT + 9.99, id="within the leeway"),
    ],
)
def test_verify_accepts_a_token_until_its_end_and_the_leeway(now: float) -> None:
    claims = verify(issue(), now=now)

    assert claims.user_id == 7


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(EXPIRES_AT + 10.0, id="at the end of the leeway"),
        pytest.param(EXPIRES_AT + 10.01, id="after the leeway"),
        pytest.param(NOW + 10**9, id="much later"),
    ],
)
def test_verify_of_an_old_token_is_expired(now: float) -> None:
    token = issue()

    with pytest.raises(access.TokenExpired):
        verify(token, now=now)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("seconds_ahead", [-(10**9), 0, 10])
def test_verify_accepts_a_token_from_a_clock_slightly_ahead(claim: str, seconds_ahead: int) -> None:
    claims = verify(signed(id=7, exp=NOW + 60, **{claim: NOW + seconds_ahead}))

    assert claims.user_id == 7


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(NOW + 10.01, id="just past the leeway"),
        pytest.param(NOW + 10**9, id="far ahead"),
        pytest.param("soon", id="string"),
        pytest.param(None, id="null"),
        pytest.param(True, id="boolean"),
        pytest.param(float("nan"), id="no number"),
    ],
)
def test_verify_refuses_a_token_from_the_future(claim: str, value: object) -> None:
    token = signed(id=7, exp=NOW + 60, **{claim: value})

    with pytest.raises(access.TokenInvalid):
        verify(token)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"id": 7}, id="no exp"),
        pytest.param({"id": 7, "exp": None}, id="null exp"),
        pytest.param({"id": 7, "exp": "1900000000"}, id="exp as a string"),
        pytest.param({"id": 7, "exp": True}, id="exp as a boolean"),
        pytest.param({"id": 7, "exp": float("nan")}, id="exp that is no number"),
        pytest.param({"id": 7, "exp": float("inf")}, id="exp of infinity"),
        pytest.param({"id": 7, "exp": 10**400}, id="exp past any float"),
        pytest.param({"exp": NOW + 60}, id="no id"),
        pytest.param({"id": "7", "exp": NOW + 60}, id="id as a string"),
        pytest.param({"id": True, "exp": NOW + 60}, id="id as a boolean"),
        pytest.param({"id": 7.0, "exp": NOW + 60}, id="id as a float"),
        pytest.param({"id": 0, "exp": NOW + 60}, id="id of 0"),
        pytest.param({"id": -7, "exp": NOW + 60}, id="negative id"),
        pytest.param({"id": 2**63, "exp": NOW + 60}, id="id past BIGINT"),
        pytest.param({"id": 7, "sub": "8", "exp": NOW + 60}, id="sub of somebody else"),
        pytest.param({"id": 7, "sub": None, "exp": NOW + 60}, id="null sub"),
        pytest.param({"id": 7, "aud": "x", "exp": NOW + 60}, id="an audience"),
        pytest.param({}, id="nothing"),
    ],
)
def test_verify_refuses_what_is_no_access_token(claims: dict[str, Any]) -> None:
    token = signed(**claims)

    with pytest.raises(access.TokenInvalid) as caught:
        verify(token)

    assert not isinstance(caught.value, access.TokenExpired)


def test_sibling_decodes_an_issued_token_with_plain_pyjwt() -> None:
    token = access.issue(
        7, "ada@x.io", session_id=3, key=SECRET_KEY, now=time.time(), ttl_seconds=60, token_id="unique"
    )

    claims = jwt.decode(token, SECRET_KEY, algorithms=["HS256"])

    assert (claims["id"], claims["email"]) == (7, "ada@x.io")


def test_verify_accepts_the_largest_id() -> None:
    claims = verify(signed(id=2**63 - 1, exp=NOW + 1))

    assert claims.user_id == 2**63 - 1


def test_verify_refuses_another_key() -> None:
    token = issue()

    with pytest.raises(access.TokenInvalid):
        verify(token, key=SECRET_KEY + "x")


@pytest.mark.parametrize(
    "part", [pytest.param(0, id="header"), pytest.param(1, id="payload"), pytest.param(2, id="signature")]
)
def test_verify_refuses_a_token_with_one_changed_character(part: int) -> None:
    parts = issue().split(".")
    replacement = "A" if parts[part][5] != "A" else "B"
    parts[part] = parts[part][:5] + replacement + parts[part][6:]

    with pytest.raises(access.TokenInvalid):
        verify(".".join(parts))


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="nothing"),
        pytest.param(".", id="one dot"),
        pytest.param("..", id="two dots"),
        pytest.param("a.b.c", id="no base64"),
        pytest.param("\u00e9", id="not ASCII"),
        pytest.param("x" * 100_000, id="endless"),
        pytest.param(f"{encoded(b'[' * 50_000)}.e30.x", id="deeply nested header"),
    ],
)
def test_verify_refuses_nonsense(token: str) -> None:
    with pytest.raises(access.TokenInvalid):
        verify(token)


def test_verify_does_not_repeat_the_token_in_its_reason() -> None:
    with pytest.raises(access.TokenInvalid) as caught:
        verify("head.hunter2.tail")

    assert "hunter2" not in str(caught.value)


def test_verify_accepts_the_longest_token_that_is_issued() -> None:
    token = access.issue(
        access.MAX_ID,
        "\U0001f512" * 255,
        session_id=access.MAX_ID,
        key=SECRET_KEY,
        now=NOW,
        ttl_seconds=3600,
        token_id="x" * 32,
    )

    assert verify(token).user_id == access.MAX_ID


def test_verify_refuses_a_longer_token_unread() -> None:
    token = signed(id=7, exp=NOW + 60, padding="x" * 8192)

    with pytest.raises(access.TokenInvalid, match="length"):
        verify(token)
