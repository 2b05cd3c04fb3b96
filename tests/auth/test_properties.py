"""What holds for every body and every token: Hypothesis makes 100 examples a test, the same in each run."""

import json
import operator
import re
import unicodedata
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import jwt
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from auth.bodies import parse_object
from auth.errors import ApiError
from auth.tokens import access
from auth.tokens import refresh as refresh_tokens
from auth.tokens.refresh import SELECTOR_BYTES, VERIFIER_BYTES, RefreshToken
from runtime import clock
from tests.support import SECRET_KEY, contract
from tests.support.forms import Login, read_login, read_registration
from tests.support.registrations import ADA

settings.register_profile("service", derandomize=True, database=None, deadline=None, max_examples=100)
settings.load_profile("service")

T = TypeVar("T")

SCHEMAS = contract.contract()["components"]["schemas"]

storable = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.text(storable, max_size=300)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
usernames = st.from_regex(SCHEMAS["Username"]["pattern"], fullmatch=True)
emails = st.from_regex(SCHEMAS["Email"]["pattern"], fullmatch=True).filter(lambda email: len(email) <= 255)
passwords = st.text(storable, min_size=8, max_size=256).filter(
    lambda text: 8 <= len(unicodedata.normalize("NFC", text)) <= 256
)
names = st.none() | st.text(storable, max_size=100)
registrations = st.fixed_dictionaries(
    {"username": usernames, "email": emails, "password": passwords},
    optional={"first_name": names, "last_name": names, "firstName": names, "lastName": names},
)
# Valid registrations with a field or two replaced, some of them by a text that is one character too long.
fields = st.sampled_from(["username", "email", "password", "first_name", "lastName"])
mixed = st.builds(
    operator.or_,
    registrations | st.just({}),
    st.dictionaries(
        fields, values | texts | st.from_regex("x{7,8}|x{50,51}|x{100,101}|x{256,257}", fullmatch=True)
    ),
)
SPELLINGS = {"first_name": "firstName", "last_name": "lastName"}  # if both are sent, the first counts
times = st.integers(min_value=0, max_value=2**40)
ids = st.integers(min_value=1, max_value=access.MAX_ID)
session_ids = st.integers(min_value=1, max_value=access.MAX_ID)


def outcome(read: Callable[[Any], T], body: Any) -> T | ApiError:
    """Return what `read` returns for a body, or the ApiError that it raises. Other errors fail the test."""
    try:
        return read(body)
    except ApiError as error:
        return error


@pytest.mark.slow
@given(registrations)
@example(ADA | {"username": "x" * 50, "email": f"{'x' * 243}@example.com", "password": "x" * 256})
@example(ADA | {"password": "x" * 8, "first_name": "x" * 100, "last_name": "x" * 100})
def test_registration_that_the_contract_accepts_is_accepted(body: dict[str, Any]) -> None:
    assert contract.accepts(SCHEMAS["Registration"], body)

    form = read_registration(body)

    assert (form.username, form.email) == (body["username"], body["email"].lower())
    assert form.password == body["password"]


@given(mixed)
def test_registration_that_is_accepted_keeps_the_contract(body: dict[str, Any]) -> None:
    form = outcome(read_registration, body)

    if isinstance(form, ApiError):
        assert form.code == "validation_failed"
        assert set(form.fields or ()) <= {*ADA, *SPELLINGS, *SPELLINGS.values()}
    else:
        assert contract.accepts(SCHEMAS["Registration"], asdict(form))
        assert read_registration(asdict(form)) == form


@given(mixed)
@example(ADA | {"username": "x" * 51})
@example(ADA | {"email": f"{'x' * 244}@example.com"})
@example(ADA | {"password": "x" * 7})
@example(ADA | {"password": "x" * 257})
@example(ADA | {"first_name": "x" * 101})
@example(ADA | {"lastName": "x" * 101})
def test_registration_that_the_contract_refuses_is_refused(body: dict[str, Any]) -> None:
    ignored = {camel for name, camel in SPELLINGS.items() if name in body}
    stripped = {
        name: body[name].strip() if isinstance(body[name], str) and name != "password" else body[name]
        for name in body.keys() - ignored
    }
    assume(not contract.accepts(SCHEMAS["Registration"], stripped))

    with pytest.raises(ApiError):
        read_registration(body)


@given(st.dictionaries(st.sampled_from(["email", "username", "password"]), values | texts))
@example({"email": "", "username": " ada ", "password": "x"})
def test_login_is_read_or_refused_as_the_contract_says(body: dict[str, Any]) -> None:
    form = outcome(read_login, body)

    if isinstance(form, ApiError):
        assert form.code == "validation_failed"
        assert form.fields
    else:
        assert contract.accepts(SCHEMAS["Login"], body)
        assert form.identifier in body.values()
        assert form.identifier.strip()


@given(st.text(storable, min_size=1).filter(str.strip), st.text(storable, min_size=1))
def test_login_takes_every_text_for_a_credential(login: str, password: str) -> None:
    form = read_login({"email": login, "password": password})

    assert form == Login(login, password)


@given(st.dictionaries(texts, values))
def test_parse_object_reads_every_object(body: dict[str, Any]) -> None:
    assume(not re.search("[\0\ud800-\udfff]", _keys(body)))

    assert parse_object(json.dumps(body).encode()) == body


def _keys(value: object) -> str:
    """Return the characters of all keys in `value`."""
    if isinstance(value, dict):
        return "".join(key + _keys(inner) for key, inner in value.items())
    return "".join(map(_keys, value)) if isinstance(value, list) else ""


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"[" * 50_000)
@example(b'{"x": NaN}')
def test_parse_object_reads_an_object_or_refuses_the_body(raw: bytes) -> None:
    parsed = outcome(parse_object, raw)

    assert isinstance(parsed, dict) or parsed.code == "invalid_json"


def issue(user_id: int, session_id: int, now: float, ttl_seconds: int) -> str:
    return access.issue(
        user_id,
        "a@x.io",
        session_id=session_id,
        key=SECRET_KEY,
        now=now,
        ttl_seconds=ttl_seconds,
        token_id="1",
    )


def verify(token: str, *, now: float) -> access.Claims:
    return access.verify(token, key=SECRET_KEY, now=now, max_ttl_seconds=60)


@given(ids, session_ids, times, st.integers(min_value=1, max_value=2**25))
def test_token_is_valid_from_its_issue_to_its_end(user_id: int, session_id: int, now: int, ttl: int) -> None:
    token = issue(user_id, session_id, now, ttl)

    for at in (now - 10, now, now + ttl, now + ttl + 9.9):
        claims = verify(token, now=at)
        assert (claims.user_id, claims.session_id) == (user_id, session_id)
    with pytest.raises(access.TokenExpired):
        verify(token, now=now + ttl + 10)
    with pytest.raises(access.TokenInvalid, match="iat"):
        verify(token, now=now - 10.1)


@given(st.data())
def test_token_with_another_character_is_invalid(data: st.DataObject) -> None:
    token = issue(7, 3, 0, 60)
    # Two bits of a signature's last character carry no data, so changing it may leave the token valid.
    place = data.draw(st.integers(min_value=0, max_value=len(token) - 2))
    character = data.draw(st.characters(max_codepoint=127).filter(lambda other: other != token[place]))

    with pytest.raises(access.TokenInvalid):
        verify(token[:place] + character + token[place + 1 :], now=0)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_token_that_nobody_signed_is_invalid(token: str) -> None:
    with pytest.raises(access.TokenInvalid):
        verify(token, now=0)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["id", "sub", "sid", "iat", "exp", "nbf"], values | times)
    )
)
@example({"id": 7, "exp": 10**400})
@example({"id": True, "exp": 60})
def test_token_with_any_claims_is_valid_or_invalid(claims: dict[str, Any]) -> None:
    token = jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET_KEY, algorithm="HS256")

    try:
        verified = verify(token, now=0)
    except access.TokenInvalid:
        return
    assert verified.user_id == claims["id"]
    assert verified.session_id == claims.get("sid")
    assert type(claims["id"]) is int  # True is an int, too
    assert claims["exp"] <= 70  # without a jti


selectors = st.binary(min_size=SELECTOR_BYTES, max_size=SELECTOR_BYTES)
verifiers = st.binary(min_size=VERIFIER_BYTES, max_size=VERIFIER_BYTES)


@given(selectors, verifiers, st.binary(max_size=40))
def test_refresh_token_and_its_successor_are_read_as_they_were_written(
    selector: bytes, verifier: bytes, salt: bytes
) -> None:
    token = RefreshToken(selector, verifier)
    successor = token.successor(salt=salt, key=SECRET_KEY)

    assert refresh_tokens.parse(token.text()) == token
    assert refresh_tokens.parse(successor.text()) == successor
    assert successor.selector_hash() == token.selector_hash()
    assert successor.hash() != token.hash()
    assert contract.accepts(SCHEMAS["RefreshToken"], token.text())


@given(st.text() | st.from_regex(r"[A-Za-z0-9_=+/-]{60,68}", fullmatch=True))
def test_refresh_token_of_any_text_is_read_or_refused(text: str) -> None:
    token = refresh_tokens.parse(text)

    assert token is None or token.text() == text.replace("+", "-").replace("/", "_")


@given(st.datetimes(), st.integers(min_value=-840, max_value=840))
def test_time_is_written_as_the_contract_says(at: datetime, offset_minutes: int) -> None:
    assume(datetime(1, 1, 2) < at < datetime(9999, 12, 30))
    zone = timezone(timedelta(minutes=offset_minutes))

    assert contract.accepts(SCHEMAS["Time"], clock.to_iso(at.replace(tzinfo=zone)))
    assert contract.accepts(SCHEMAS["Time"], clock.to_iso(at))
