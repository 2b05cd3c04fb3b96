"""GET /api/auth/me."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from config import Settings
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import Register
from tests.support.database import MakeDatabase, Sql, run_sql

ME = "/api/auth/me"
OTHER_KEY = "another-key-for-tests-that-is-longer-than-32-bytes"
CREATED_AT = "2026-01-02 03:04:05.678901"


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(claims: object, *, key: str = SECRET_KEY, digest: str = "sha256", **header: object) -> str:
    """Return a JWT as RFC 7515 builds one, whatever it says."""
    head = {"alg": "HS256", "typ": "JWT"} | header
    message = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{message}.{encoded(hmac.digest(key.encode(), message.encode(), digest))}"


def claims_of(user_id: object = 1, **changes: object) -> dict[str, Any]:
    """Return valid claims with `changes`; a claim set to ... is left out."""
    now = int(time.time())
    claims = {"id": user_id, "email": "ada@example.com", "sub": "1", "iat": now, "exp": now + 60, "jti": "j"}
    return {name: value for name, value in (claims | changes).items() if value is not ...}


def get_me(client: FlaskClient, token: str, scheme: str = "Bearer") -> TestResponse:
    return client.get(ME, headers={"Authorization": f"{scheme} {token}"})


def code(answer: TestResponse) -> tuple[int, str, str]:
    """Return what tells one 401 from another."""
    assert answer.get_json().keys() == {"error", "code"}
    return answer.status_code, answer.get_json()["code"], answer.headers["WWW-Authenticate"]


INVALID = (401, "token_invalid", 'Bearer error="invalid_token"')
EXPIRED = (401, "token_expired", 'Bearer error="invalid_token"')
MISSING = (401, "token_missing", "Bearer")


def test_me_is_the_user_at_the_top_level(client: FlaskClient, register: Register, sql: Sql) -> None:
    token = register(username="Ada", first_name="Ada", last_name="King")["token"]
    sql("UPDATE users SET created_at = %s", CREATED_AT)

    answer = get_me(client, token)

    assert answer.status_code == 200
    assert answer.get_json() == {
        "id": 1,
        "username": "Ada",
        "email": "ada@example.com",
        "first_name": "Ada",
        "last_name": "King",
        "created_at": "2026-01-02T03:04:05.678Z",
        "firstName": "Ada",
        "lastName": "King",
        "createdAt": "2026-01-02T03:04:05.678Z",
    }


def test_me_shows_absent_names_as_empty_strings(client: FlaskClient, register: Register) -> None:
    token = register()["token"]

    body = get_me(client, token).get_json()

    assert [body[name] for name in ("first_name", "last_name", "firstName", "lastName")] == [""] * 4


def test_me_equals_the_user_of_registration_and_login(client: FlaskClient, register: Register) -> None:
    registered = register(firstName="Ada")
    logged_in = client.post("/api/auth/login", json={"email": "ada", "password": PASSWORD}).get_json()

    body = get_me(client, logged_in["token"]).get_json()

    assert body == registered["user"] == logged_in["user"]


def test_me_is_the_owner_of_the_token(client: FlaskClient, register: Register) -> None:
    ada = register()["token"]
    bob = register(username="bob", email="bob@example.com")["token"]

    names = [get_me(client, token).get_json()["username"] for token in (ada, bob)]

    assert names == ["ada", "bob"]


def test_me_shows_what_the_database_says_now(client: FlaskClient, register: Register, sql: Sql) -> None:
    token = register()["token"]
    sql("UPDATE users SET email = 'new@example.com', first_name = 'Augusta'")

    body = get_me(client, token).get_json()

    assert (body["email"], body["firstName"]) == ("new@example.com", "Augusta")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
def test_me_takes_the_scheme_in_any_case(client: FlaskClient, register: Register, scheme: str) -> None:
    token = register()["token"]

    assert get_me(client, token, scheme).status_code == 200


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
def test_me_without_a_bearer_token_is_401(
    client: FlaskClient, register: Register, header: str | None
) -> None:
    token = register()["token"]
    headers = {} if header is None else {"Authorization": header.format(token=token)}

    answer = client.get(ME, headers=headers)

    assert code(answer) == MISSING


@pytest.mark.parametrize("name", ["token", "access_token", "jwt", "Authorization"])
def test_me_ignores_a_token_outside_of_the_header(client: FlaskClient, register: Register, name: str) -> None:
    token = register()["token"]

    answer = client.get(ME, query_string={name: token}, headers={"Cookie": f"{name}={token}"})

    assert code(answer) == MISSING


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
def test_me_takes_tokens_of_an_earlier_version(
    client: FlaskClient, register: Register, changes: dict[str, Any]
) -> None:
    register()

    assert get_me(client, signed(claims_of(**changes))).status_code == 200


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
def test_me_allows_for_clocks_that_differ(
    client: FlaskClient, register: Register, claim: str, seconds: int, expected: int
) -> None:
    register()

    answer = get_me(client, signed(claims_of(**{claim: int(time.time()) + seconds})))

    assert answer.status_code == expected


def test_me_with_an_expired_token_is_401(client: FlaskClient, register: Register) -> None:
    register()

    answer = get_me(client, signed(claims_of(exp=int(time.time()) - 60)))

    assert code(answer) == EXPIRED


def test_me_with_an_expired_token_of_another_key_is_invalid(client: FlaskClient, register: Register) -> None:
    register()

    answer = get_me(client, signed(claims_of(exp=int(time.time()) - 60), key=OTHER_KEY))

    assert code(answer) == INVALID


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
        pytest.param({"id": 2**63, "sub": str(2**63)}, id="id past the column's type"),
        pytest.param({"id": 2**63, "sub": str(2**63)}, id="id past any type"),
        pytest.param({"sub": "2"}, id="sub of somebody else"),
        pytest.param({"sub": 1}, id="sub as a number"),
        pytest.param({"iat": "now"}, id="iat as a string"),
        pytest.param({"aud": "user-service"}, id="an audience"),
        pytest.param({"aud": ["user-service"]}, id="audiences"),
    ],
)
def test_me_with_claims_that_no_access_token_has_is_401(
    client: FlaskClient, register: Register, changes: dict[str, Any]
) -> None:
    register()

    answer = get_me(client, signed(claims_of(**changes)))

    assert code(answer) == INVALID


def test_me_with_another_key_is_401(client: FlaskClient, register: Register) -> None:
    register()

    assert code(get_me(client, signed(claims_of(), key=OTHER_KEY))) == INVALID


def test_me_with_a_tampered_payload_is_401(client: FlaskClient, register: Register) -> None:
    register()
    register(username="bob", email="bob@example.com")
    head, _, signature = signed(claims_of(1)).split(".")
    payload = signed(claims_of(2, sub="2")).split(".")[1]

    assert code(get_me(client, f"{head}.{payload}.{signature}")) == INVALID


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
    ],
)
def test_me_with_another_algorithm_is_401(
    client: FlaskClient, register: Register, header: dict[str, Any]
) -> None:
    register()

    assert code(get_me(client, signed(claims_of(), **header))) == INVALID


def test_me_with_an_unsigned_token_is_401(client: FlaskClient, register: Register) -> None:
    register()
    head, payload, _ = signed(claims_of(), alg="none").split(".")

    assert code(get_me(client, f"{head}.{payload}.")) == INVALID


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
def test_me_with_nonsense_is_401(client: FlaskClient, register: Register, token: str) -> None:
    register()

    assert code(get_me(client, token)) == INVALID


def test_me_with_a_token_cut_anywhere_is_401(client: FlaskClient, register: Register) -> None:
    token = register()["token"]

    statuses = {get_me(client, token[:end]).status_code for end in range(1, len(token), 7)}

    assert statuses == {401}


def test_me_of_a_deleted_user_is_401(
    client: FlaskClient, register: Register, sql: Sql, log_lines: list[dict[str, Any]]
) -> None:
    token = register()["token"]
    sql("DELETE FROM users")

    answer = get_me(client, token)

    assert code(answer) == INVALID
    assert "session_over user_id=1 session_id=1" in [line["message"] for line in log_lines]


def test_me_without_a_creation_time_shows_null(client: FlaskClient, register: Register, sql: Sql) -> None:
    token = register()["token"]
    sql("UPDATE users SET created_at = NULL")

    body = get_me(client, token).get_json()

    assert (body["created_at"], body["createdAt"]) == (None, None)


def test_me_converts_an_aware_creation_time_to_utc(make_database: MakeDatabase) -> None:
    url = make_database()
    client = create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4)).test_client()
    run_sql(url, "ALTER TABLE users ALTER created_at TYPE TIMESTAMPTZ")
    run_sql(
        url,
        "INSERT INTO users (username, email, password, created_at) VALUES ('a', 'a@x.io', '-', %s)",
        "2026-01-02 03:04:05+05:30",
    )

    body = get_me(client, signed(claims_of())).get_json()

    assert body["createdAt"] == body["created_at"] == "2026-01-01T21:34:05.000Z"


@pytest.mark.parametrize("column", ["TIMESTAMP", "TIMESTAMPTZ"])
def test_me_is_in_utc_whatever_the_time_zone_of_the_database(
    make_database: MakeDatabase, column: str
) -> None:
    url = make_database()
    name = url.partition("?")[0].rpartition("/")[2]
    run_sql(url, f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'")
    client = create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4)).test_client()
    run_sql(url, f"ALTER TABLE users ALTER created_at TYPE {column}")
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    before = time.time()

    created_at = client.post("/api/auth/register", json=body).get_json()["user"]["createdAt"]

    moment = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(before))
    later = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(before + 60))
    assert created_at.endswith("Z")
    assert created_at[:16] in (moment, later)


def test_token_is_plain_hs256_that_a_sibling_verifies_by_itself(register: Register) -> None:
    token = register()["token"]
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    message = token.rpartition(".")[0].encode()

    signature = encoded(hmac.new(SECRET_KEY.encode(), message, hashlib.sha256).digest())

    assert token.endswith(f".{signature}")
    assert claims["id"] == 1


@pytest.mark.parametrize(("later", "status"), [("10 seconds", 200), ("20 seconds", 401)])
def test_token_of_before_the_database_was_emptied_is_nobody_s(
    client: FlaskClient, register: Register, sql: Sql, later: str, status: int
) -> None:
    token = register()["token"]
    sql("DELETE FROM users")
    sql("ALTER SEQUENCE users_id_seq RESTART; ALTER SEQUENCE auth_sessions_id_seq RESTART")
    register(username="bob", email="bob@example.com")
    sql(f"UPDATE auth_sessions SET created_at = created_at + interval '{later}'")

    assert get_me(client, token).status_code == status
