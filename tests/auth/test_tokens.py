"""Issuing and verifying the access token, at a time of our choosing."""

import base64
import hmac
import json
from typing import Any

import pytest

from auth.tokens import access

KEY = "a-key-for-tests-that-is-longer-than-32-bytes"
NOW = 1_800_000_000.75


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def signed(**claims: object) -> str:
    """Return a JWT with exactly `claims`, built by hand."""
    header = json.dumps({"alg": "HS256"}).encode()
    message = f"{encoded(header)}.{encoded(json.dumps(claims).encode())}"
    return f"{message}.{encoded(hmac.digest(KEY.encode(), message.encode(), 'sha256'))}"


def issue(*, now: float = NOW, ttl_seconds: int = 3600) -> str:
    return access.issue(
        7, "ada@x.io", session_id=3, key=KEY, now=now, ttl_seconds=ttl_seconds, token_id="unique"
    )


def test_issue_signs_exactly_the_claims_of_the_contract() -> None:
    header, claims, _ = issue().split(".")

    assert decoded(header) == {"alg": "HS256", "typ": "JWT"}
    assert decoded(claims) == {
        "id": 7,
        "email": "ada@x.io",
        "sub": "7",
        "sid": 3,
        "iat": 1_800_000_000,
        "exp": 1_800_003_600,
        "jti": "unique",
    }


def test_issue_signs_with_hmac_sha256() -> None:
    message, _, signature = issue().rpartition(".")

    assert signature == encoded(hmac.digest(KEY.encode(), message.encode(), "sha256"))


def test_verify_returns_the_user_and_the_session_of_an_issued_token() -> None:
    claims = access.verify(issue(), key=KEY, now=NOW)

    assert (claims.user_id, claims.session_id) == (7, 3)


@pytest.mark.parametrize("sid", [0, -1, True, "3", 1.0, 2**63, [3]])
def test_verify_refuses_a_session_that_is_none(sid: object) -> None:
    with pytest.raises(access.TokenInvalid):
        access.verify(signed(id=7, exp=NOW + 60, sid=sid), key=KEY, now=NOW)


def test_verify_takes_a_token_without_a_session() -> None:
    assert access.verify(signed(id=7, exp=NOW + 60), key=KEY, now=NOW).session_id is None


@pytest.mark.parametrize("now", [NOW, NOW + 3600, 1_800_003_600 + 9.99])
def test_verify_takes_a_token_until_its_end_and_the_leeway(now: float) -> None:
    assert access.verify(issue(), key=KEY, now=now).user_id == 7


@pytest.mark.parametrize("now", [1_800_003_600 + 10.0, 1_800_003_600 + 10.01, NOW + 10**9])
def test_verify_of_an_old_token_is_expired(now: float) -> None:
    with pytest.raises(access.TokenExpired):
        access.verify(issue(), key=KEY, now=now)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("ahead", [-(10**9), 0, 10])
def test_verify_takes_a_token_from_a_clock_slightly_ahead(claim: str, ahead: int) -> None:
    token = signed(id=7, exp=NOW + 60, **{claim: NOW + ahead})

    assert access.verify(token, key=KEY, now=NOW).user_id == 7


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("value", [NOW + 10.01, NOW + 10**9, "soon", None, True, float("nan")])
def test_verify_refuses_a_token_from_the_future(claim: str, value: object) -> None:
    token = signed(id=7, exp=NOW + 60, **{claim: value})

    with pytest.raises(access.TokenInvalid):
        access.verify(token, key=KEY, now=NOW)


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
    with pytest.raises(access.TokenInvalid) as caught:
        access.verify(signed(**claims), key=KEY, now=NOW)

    assert not isinstance(caught.value, access.TokenExpired)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"id": 1, "exp": NOW + 1}, id="id and exp"),
        pytest.param({"id": 1, "exp": NOW + 1, "sub": "1"}, id="and a sub"),
        pytest.param({"id": 1, "exp": NOW + 1, "jti": "x"}, id="and a jti"),
        pytest.param({"id": 1, "exp": 10**30}, id="an exp beyond every clock"),
    ],
)
def test_verify_takes_tokens_of_an_earlier_version(claims: dict[str, Any]) -> None:
    assert access.verify(signed(**claims), key=KEY, now=NOW).user_id == 1


def test_verify_takes_the_largest_id() -> None:
    assert access.verify(signed(id=2**63 - 1, exp=NOW + 1), key=KEY, now=NOW).user_id == 2**63 - 1


def test_verify_refuses_another_key() -> None:
    with pytest.raises(access.TokenInvalid):
        access.verify(issue(), key=KEY + "x", now=NOW)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_verify_refuses_a_token_with_one_changed_character(part: int) -> None:
    parts = issue().split(".")
    parts[part] = ("A" if parts[part][5] != "A" else "B").join((parts[part][:5], parts[part][6:]))

    with pytest.raises(access.TokenInvalid):
        access.verify(".".join(parts), key=KEY, now=NOW)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "\u00e9", "x" * 100_000, f"{encoded(b'[' * 50_000)}.e30.x"]
)
def test_verify_refuses_nonsense(token: str) -> None:
    with pytest.raises(access.TokenInvalid):
        access.verify(token, key=KEY, now=NOW)


def test_verify_does_not_repeat_the_token_in_its_reason() -> None:
    with pytest.raises(access.TokenInvalid) as caught:
        access.verify("head.hunter2.tail", key=KEY, now=NOW)

    assert "hunter2" not in str(caught.value)


def test_verify_takes_the_longest_token_that_is_issued() -> None:
    token = access.issue(
        access.MAX_ID,
        "\U0001f512" * 255,
        session_id=access.MAX_ID,
        key=KEY,
        now=NOW,
        ttl_seconds=3600,
        token_id="x" * 32,
    )

    assert access.verify(token, key=KEY, now=NOW).user_id == access.MAX_ID


def test_verify_refuses_a_longer_token_unread() -> None:
    with pytest.raises(access.TokenInvalid, match="length"):
        access.verify(signed(id=7, exp=NOW + 60, padding="x" * 8192), key=KEY, now=NOW)
