"""Access tokens of earlier versions: without some claims, and with another type. The time is an argument."""

from typing import Any

import pytest

from auth.tokens import access
from tests.support import SECRET_KEY
from tests.support.access_tokens import signed as signed_with

NOW = 1_800_000_000.75
COMPLETE = {"id": 1, "sub": "1", "jti": "x", "sid": 3}


def signed(**claims: object) -> str:
    """Return a token with exactly `claims`, and without `typ`."""
    return signed_with(claims, typ=...)


def verify(token: str) -> access.Claims:
    return access.verify(token, key=SECRET_KEY, now=NOW, max_ttl_seconds=3600)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"id": 1, "exp": NOW + 1}, id="id and exp"),
        pytest.param({"id": 1, "exp": NOW + 1, "sub": "1"}, id="and a sub"),
        pytest.param({"id": 1, "exp": NOW + 1, "jti": "x"}, id="and a jti"),
        pytest.param({"id": 1, "exp": NOW + 3610}, id="the longest lifetime and the leeway"),
    ],
)
def test_verify_accepts_a_token_of_an_earlier_version(claims: dict[str, Any]) -> None:
    assert verify(signed(**claims)).user_id == 1


@pytest.mark.parametrize("absent", ["sub", "jti", "sid"])
@pytest.mark.parametrize("exp", [NOW + 3610.01, NOW + 10**9, 10**30])
def test_verify_refuses_a_long_token_of_an_earlier_version(absent: str, exp: float) -> None:
    token = signed(**{name: value for name, value in COMPLETE.items() if name != absent}, exp=exp)

    with pytest.raises(access.TokenInvalid) as caught:
        verify(token)

    assert not isinstance(caught.value, access.TokenExpired)


def test_verify_refuses_a_long_token_whose_sid_is_null() -> None:
    token = signed(**COMPLETE | {"sid": None}, exp=NOW + 3610.01)

    with pytest.raises(access.TokenInvalid):
        verify(token)


def test_verify_accepts_a_long_token_with_every_claim() -> None:
    assert verify(signed(**COMPLETE, exp=10**30)).session_id == 3


def test_verify_compares_a_known_token_with_the_time_and_the_bound_of_now() -> None:
    """The claims of a token are cached. Neither an acceptance nor a refusal of earlier may be."""
    token = signed(id=1, exp=NOW + 4000)

    def is_valid(now: float, max_ttl_seconds: int) -> bool:
        try:
            access.verify(token, key=SECRET_KEY, now=now, max_ttl_seconds=max_ttl_seconds)
        except access.TokenInvalid:
            return False
        return True

    answers = [is_valid(NOW, 3600), is_valid(NOW, 4000), is_valid(NOW, 3600), is_valid(NOW + 390, 3600)]
    assert answers == [False, True, False, True]


@pytest.mark.parametrize("typ", ["at+jwt", "JWT", pytest.param(..., id="none")])
def test_verify_accepts_the_type_of_this_and_of_earlier_versions(typ: object) -> None:
    assert verify(signed_with(COMPLETE | {"exp": NOW + 60}, typ=typ)).user_id == 1


@pytest.mark.parametrize(
    "typ",
    [
        pytest.param("AT+JWT", id="another case"),
        pytest.param("jwt", id="small letters"),
        pytest.param("application/at+jwt", id="media type"),
        pytest.param("id+jwt", id="another purpose"),
        pytest.param("at+jwt ", id="blank"),
        pytest.param("", id="empty"),
        pytest.param(None, id="null"),
        pytest.param(0, id="number"),
        pytest.param(True, id="boolean"),
        pytest.param(["at+jwt"], id="list"),
        pytest.param({"at+jwt": 1}, id="object"),
    ],
)
def test_verify_refuses_another_type(typ: object) -> None:
    token = signed_with(COMPLETE | {"exp": NOW + 60}, typ=typ)

    with pytest.raises(access.TokenInvalid, match=r"^typ$"):
        verify(token)
