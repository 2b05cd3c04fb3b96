"""The Authorization header of GET /api/auth/me: which access tokens the service accepts."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support import SECRET_KEY
from tests.support.access_tokens import claims_of, encoded, signed
from tests.support.actor import ME, TOKEN_EXPIRED, TOKEN_INVALID, TOKEN_MISSING, Actor, ClientOf, refusal
from tests.support.database import Sql

OTHER_KEY = "another-key-for-tests-that-is-longer-than-32-bytes"


def claims_with(user_id: object = 1, **changes: object) -> dict[str, Any]:
    """Return valid claims with `changes`; a claim set to ... is left out."""
    now = int(time.time())
    claims = {"id": user_id, "email": "ada@example.com", "sub": "1", "iat": now, "exp": now + 60, "jti": "j"}
    return {name: value for name, value in (claims | changes).items() if value is not ...}


def get_me(client: FlaskClient, authorization: str | None) -> TestResponse:
    return client.get(ME, headers={} if authorization is None else {"Authorization": authorization})


def test_token_is_plain_hs256_that_a_sibling_verifies_by_itself(ada: Actor) -> None:
    payload = ada.token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    message = ada.token.rpartition(".")[0].encode()

    signature = encoded(hmac.new(SECRET_KEY.encode(), message, hashlib.sha256).digest())

    assert ada.token.endswith(f".{signature}")
    assert claims["id"] == 1


@pytest.mark.parametrize(
    "scheme", ["Bearer", "bearer", "BEARER", "bEaReR", pytest.param("Bearer  ", id="two more spaces")]
)
def test_scheme_is_accepted_in_any_case(client: FlaskClient, ada: Actor, scheme: str) -> None:
    answer = get_me(client, f"{scheme} {ada.token}")

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(None, id="no header"),
        pytest.param("", id="empty"),
        pytest.param("Bearer", id="scheme only"),
        pytest.param("Bearer ", id="scheme and a space"),
        pytest.param("Basic {token}", id="another scheme"),
        pytest.param("Bearers {token}", id="a longer scheme"),
        pytest.param("{token}", id="no scheme"),
    ],
)
def test_header_without_a_bearer_token_is_401(client: FlaskClient, ada: Actor, header: str | None) -> None:
    answer = get_me(client, header and header.format(token=ada.token))

    assert refusal(answer) == TOKEN_MISSING


@pytest.mark.parametrize("name", ["token", "access_token", "jwt", "Authorization"])
def test_token_outside_of_the_header_is_ignored(client: FlaskClient, ada: Actor, name: str) -> None:
    answer = client.get(ME, query_string={name: ada.token}, headers={"Cookie": f"{name}={ada.token}"})

    assert refusal(answer) == TOKEN_MISSING


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sub": ...}, id="no sub"),
        pytest.param({"jti": ...}, id="no jti"),
        pytest.param({"sub": ..., "jti": ..., "iat": ..., "email": ...}, id="only id and exp"),
        pytest.param({"exp": int(time.time()) + 3600.5}, id="exp with a fraction"),
        pytest.param({"role": "admin"}, id="an unknown claim"),
    ],
)
def test_token_of_an_earlier_version_is_accepted(ada: Actor, changes: dict[str, Any]) -> None:
    answer = ada.me(signed(claims_with(**changes)))

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("max_ttl_seconds", "expected"), [pytest.param(60, 200, id="at most"), pytest.param(40, 401, id="longer")]
)
def test_token_of_an_earlier_version_lasts_no_longer_than_the_setting_says(
    client_of: ClientOf, ada: Actor, max_ttl_seconds: int, expected: int
) -> None:
    strict = ada.through(client_of(jwt_expires_seconds=max_ttl_seconds))

    answer = strict.me(signed(claims_with()))

    assert answer.status_code == expected
    assert strict.me(ada.token).status_code == 200  # it has a session, which can be revoked


@pytest.mark.parametrize(
    ("claim", "seconds", "expected"),
    [
        pytest.param("exp", -5, 200, id="expired within the leeway"),
        pytest.param("exp", -11, 401, id="expired past the leeway"),
        pytest.param("iat", 5, 200, id="issued a little ahead"),
        pytest.param("iat", 60, 401, id="issued in the future"),
        pytest.param("nbf", 5, 200, id="valid a little later"),
        pytest.param("nbf", 60, 401, id="valid much later"),
    ],
)
def test_clock_may_differ_by_the_leeway(ada: Actor, claim: str, seconds: int, expected: int) -> None:
    token = signed(claims_with(**{claim: int(time.time()) + seconds}))

    answer = ada.me(token)

    assert answer.status_code == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param(SECRET_KEY, TOKEN_EXPIRED, id="own key"),
        pytest.param(OTHER_KEY, TOKEN_INVALID, id="another key"),
    ],
)
def test_expired_token_is_401(ada: Actor, key: str, expected: object) -> None:
    token = signed(claims_with(exp=int(time.time()) - 60), key=key)

    answer = ada.me(token)

    assert refusal(answer) == expected


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exp": ...}, id="no exp"),
        pytest.param({"exp": None}, id="null exp"),
        pytest.param({"exp": "9999999999"}, id="exp as a string"),
        pytest.param({"exp": True}, id="exp as a boolean"),
        pytest.param({"exp": [9999999999]}, id="exp as a list"),
        pytest.param({"exp": float("nan")}, id="exp that is no number"),
        pytest.param({"id": ...}, id="no id"),
        pytest.param({"id": ..., "sub": "1"}, id="only a sub"),
        pytest.param({"id": None}, id="null id"),
        pytest.param({"id": "1"}, id="id as a string"),
        pytest.param({"id": True}, id="id as a boolean"),
        pytest.param({"id": 1.0}, id="id as a float"),
        pytest.param({"id": [1]}, id="id as a list"),
        pytest.param({"id": 0, "sub": "0"}, id="id of 0"),
        pytest.param({"id": -1, "sub": "-1"}, id="negative id"),
        pytest.param({"id": 2**31, "sub": str(2**31)}, id="id past the column's type"),
        pytest.param({"id": 2**63, "sub": str(2**63)}, id="id past any type"),
        pytest.param({"sub": "2"}, id="sub of somebody else"),
        pytest.param({"sub": 1}, id="sub as a number"),
        pytest.param({"iat": "now"}, id="iat as a string"),
        pytest.param({"aud": "user-service"}, id="an audience"),
        pytest.param({"aud": ["user-service"]}, id="audiences"),
    ],
)
def test_token_with_claims_of_no_access_token_is_401(ada: Actor, changes: dict[str, Any]) -> None:
    answer = ada.me(signed(claims_with(**changes)))

    assert refusal(answer) == TOKEN_INVALID


def test_token_of_another_key_is_401(ada: Actor) -> None:
    answer = ada.me(signed(claims_with(), key=OTHER_KEY))

    assert refusal(answer) == TOKEN_INVALID


def test_token_with_the_payload_of_another_is_401(client: FlaskClient, ada: Actor) -> None:
    Actor(client, "bob").register()
    header, _, signature = signed(claims_with(1)).split(".")
    payload = signed(claims_with(2, sub="2")).split(".")[1]

    answer = ada.me(f"{header}.{payload}.{signature}")

    assert refusal(answer) == TOKEN_INVALID


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"alg": "none"}, id="none"),
        pytest.param({"alg": "None"}, id="None"),
        pytest.param({"alg": "RS256"}, id="RS256"),
        pytest.param({"alg": "HS512", "digest": "sha512"}, id="HS512 with the right key"),
        pytest.param({"alg": None}, id="null"),
        pytest.param({"alg": ["HS256"]}, id="list"),
        pytest.param({"crit": ["exp"]}, id="HS256 with a critical extension"),
        pytest.param({"typ": "id+jwt"}, id="HS256 of another type"),
    ],
)
def test_token_with_another_header_is_401(ada: Actor, header: dict[str, Any]) -> None:
    answer = ada.me(signed(claims_with(), **header))

    assert refusal(answer) == TOKEN_INVALID


def test_token_without_signature_is_401(ada: Actor) -> None:
    header, payload, _ = signed(claims_with(), alg="none").split(".")

    answer = ada.me(f"{header}.{payload}.")

    assert refusal(answer) == TOKEN_INVALID


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("nonsense", id="one part"),
        pytest.param("a.b", id="two parts"),
        pytest.param("a.b.c", id="no base64"),
        pytest.param("..", id="empty parts"),
        pytest.param("a b", id="a space"),
        pytest.param("x" * 8000, id="very long"),
        pytest.param("\u00e9.\u00e9.\u00e9", id="not ASCII"),
        pytest.param(f"{encoded(b'[' * 5900)}.e30.AA", id="deeply nested header"),
        pytest.param(f"{encoded(b'[]')}.e30.AA", id="header that is no object"),
        pytest.param(f"{encoded(bytes([0xFF]))}.e30.AA", id="header that is no text"),
        pytest.param(signed([1]), id="claims that are no object"),
        pytest.param(signed("text"), id="claims that are a string"),
        pytest.param(signed(None), id="null claims"),
    ],
)
def test_nonsense_is_401(ada: Actor, token: str) -> None:
    answer = ada.me(token)

    assert refusal(answer) == TOKEN_INVALID


def test_token_cut_anywhere_is_401(ada: Actor) -> None:
    statuses = {ada.me(ada.token[:end]).status_code for end in range(1, len(ada.token), 7)}

    assert statuses == {401}


@pytest.mark.parametrize(
    ("seconds", "status"),
    [pytest.param(11, 200, id="within the tolerance"), pytest.param(11.5, 401, id="past the tolerance")],
)
def test_token_from_before_the_database_was_emptied_is_refused(
    client: FlaskClient, ada: Actor, sql: Sql, seconds: float, status: int
) -> None:
    """Emptied tables give the same ids again; the new session is younger than the old token.

    The tolerance is 11 s: 10 s for clocks that differ, and 1 s because `iat` has whole seconds.
    """
    sql("DELETE FROM users")
    sql("ALTER SEQUENCE users_id_seq RESTART; ALTER SEQUENCE auth_sessions_id_seq RESTART")
    Actor(client, "bob").register()
    sql("UPDATE auth_sessions SET created_at = to_timestamp(%s)", claims_of(ada.token)["iat"] + seconds)

    answer = ada.me()

    assert answer.status_code == status
