"""Request bodies: what is read as a JSON object, how long it may be, and of which type."""

import json

import pytest
from flask.testing import FlaskClient

from auth.bodies import parse_object
from auth.errors import ApiError
from tests.support.actor import LOGIN, REGISTER
from tests.support.answers import JSON, MAX_BODY_BYTES
from tests.support.database import Sql
from tests.support.registrations import ADA, registration_of

POSTS = [REGISTER, LOGIN]


def test_parse_object_returns_the_object() -> None:
    raw = ' {"a": [1, 2.5, null, true], "\u00e9": "\\ud83d\\ude00"} '.encode()

    assert parse_object(raw) == {"a": [1, 2.5, None, True], "\u00e9": "\U0001f600"}


def test_parse_object_takes_a_thousand_keys() -> None:
    body = {"objects": [{"name": number} for number in range(997)], "a": {"b": 1}}

    assert parse_object(json.dumps(body).encode()) == body
    with pytest.raises(ApiError) as caught:
        parse_object(json.dumps(body | {"c": 1}).encode())
    assert (caught.value.code, caught.value.sentence) == (
        "invalid_json",
        "The request body has more than 1000 keys.",
    )


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"null", b'{"a":1,"a":1}', b'{"a":NaN}', b"[" * 60_000, b"\xff"],
    ids=["empty", "array", "null", "key twice", "NaN", "deep arrays", "not UTF-8"],
)
def test_parse_object_refuses_anything_else(raw: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_object(raw)

    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"", "is not valid JSON at line 1, column 1.", id="empty"),
        pytest.param(b" ", "is not valid JSON at line 1, column 2.", id="space"),
        pytest.param(b"{", "is not valid JSON at line 1, column 2.", id="half"),
        pytest.param(b"{} {}", "is not valid JSON at line 1, column 4.", id="two objects"),
        pytest.param(b"{'username': 'ada'}", "is not valid JSON at line 1, column 2.", id="single quotes"),
        pytest.param(b"username=ada", "is not valid JSON at line 1, column 1.", id="form"),
        pytest.param(b"[]", "must be a JSON object.", id="array"),
        pytest.param(b'[{"username": "ada"}]', "must be a JSON object.", id="array of an object"),
        pytest.param(b"null", "must be a JSON object.", id="null"),
        pytest.param(b"true", "must be a JSON object.", id="true"),
        pytest.param(b"1", "must be a JSON object.", id="number"),
        pytest.param(b'"text"', "must be a JSON object.", id="string"),
        pytest.param(
            b'{\n "a": 1,\n "b": oops\n}', "is not valid JSON at line 3, column 7.", id="third line"
        ),
        pytest.param(b'{"x": ' + b"1" * 5000 + b"}", "holds a number that is too long.", id="long number"),
        pytest.param(b'{"x": NaN}', "holds NaN, which is not JSON.", id="NaN"),
        pytest.param(b'{"x": Infinity}', "holds Infinity, which is not JSON.", id="Infinity"),
        pytest.param(b'{"x": [-Infinity]}', "holds -Infinity, which is not JSON.", id="-Infinity"),
        pytest.param(b'{"username": "ada", "username": "bob"}', "has a key twice.", id="duplicate key"),
        pytest.param(b'{"x": {"y": 1, "y": 1}}', "has a key twice.", id="nested duplicate key"),
        pytest.param(
            b'{"username": "ada", "user\\u006eame": "bob"}', "has a key twice.", id="duplicate key, escaped"
        ),
        pytest.param(b"[" * 60_000, "is nested too deeply.", id="deep arrays, open"),
        pytest.param(b"[" * 30_000 + b"]" * 30_000, "is nested too deeply.", id="deep arrays, closed"),
        pytest.param(b'{"x":' * 10_000 + b"1" + b"}" * 10_000, "is nested too deeply.", id="deep objects"),
        pytest.param(b'{"username": "\xff"}', "is not UTF-8 text.", id="not UTF-8"),
        pytest.param(b'{"username": "\xed\xa0\x80"}', "is not UTF-8 text.", id="surrogate in UTF-8"),
        pytest.param(
            b'\xef\xbb\xbf{"username": "ada"}', "is not valid JSON at line 1, column 1.", id="byte order mark"
        ),
        pytest.param('{"username": "ada"}'.encode("utf-16"), "is not UTF-8 text.", id="UTF-16"),
        pytest.param(
            b'{"username": "a\nb"}', "is not valid JSON at line 1, column 16.", id="raw newline in a string"
        ),
        pytest.param(b'{"x\\u0000": 1}', "has a key with a character that is not text.", id="NUL in a key"),
        pytest.param(
            b'{"x\\ud800": 1}', "has a key with a character that is not text.", id="lone surrogate in a key"
        ),
    ],
)
def test_body_that_is_no_json_object_is_400_that_says_why(
    client: FlaskClient, path: str, body: bytes, why: str
) -> None:
    answer = client.post(path, data=body, content_type=JSON)

    assert answer.status_code == 400
    assert answer.get_json() == {
        "error": f"The request body {why}",
        "code": "invalid_json",
    }


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("value", "bad"),
    [
        pytest.param(b'"username": "a\\u0000b"', "username", id="NUL in a known field"),
        pytest.param(b'"x": "\\u0000"', "body", id="NUL in an unknown field"),
        pytest.param(b'"x": [{"y": ["\\u0000"]}]', "body", id="NUL below an unknown field"),
        pytest.param(b'"password": "long enough\\ud83d"', "password", id="lone high surrogate"),
        pytest.param(b'"x": "\\udd12\\ud83d"', "body", id="surrogates in the wrong order"),
        pytest.param(b'"x": ' + b"[" * 500 + b"]" * 500, "body", id="deep arrays"),
        pytest.param(b'"x": ' + b'{"y":' * 500 + b"1" + b"}" * 500, "body", id="deep objects"),
    ],
)
def test_body_with_text_that_cannot_be_stored_is_400(
    client: FlaskClient, sql: Sql, path: str, value: bytes, bad: str
) -> None:
    rest = [b'"%s": "%s"' % (name.encode(), text.encode()) for name, text in ADA.items() if name != bad]

    answer = client.post(path, data=b"{" + b",".join([value, *rest]) + b"}", content_type=JSON)

    assert answer.status_code == 400
    assert answer.get_json()["code"] == "validation_failed"
    assert list(answer.get_json()["fields"]) == [bad]
    assert sql("SELECT id FROM users") == []


def test_body_of_64_kib_is_read(client: FlaskClient, sql: Sql) -> None:
    body = registration_of(MAX_BODY_BYTES)

    answer = client.post(REGISTER, data=body, content_type=JSON)

    assert (len(body), answer.status_code) == (65536, 201)
    assert sql("SELECT count(*) FROM users") == [(1,)]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "length", [MAX_BODY_BYTES + 1, 10 * MAX_BODY_BYTES], ids=["one byte more", "ten times"]
)
def test_body_above_64_kib_is_413(client: FlaskClient, sql: Sql, path: str, length: int) -> None:
    answer = client.post(path, data=registration_of(length), content_type=JSON)

    assert answer.status_code == 413
    assert answer.get_json() == {
        "error": "The request body is larger than 64 KiB.",
        "code": "body_too_large",
    }
    assert sql("SELECT id FROM users") == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(registration_of(MAX_BODY_BYTES), 201, id="at the limit"),
        pytest.param(registration_of(MAX_BODY_BYTES + 1), 413, id="past the limit"),
        pytest.param(registration_of(MAX_BODY_BYTES) + b" ", 413, id="past the limit, whole when cut off"),
        pytest.param(registration_of(10 * MAX_BODY_BYTES), 413, id="far past the limit"),
    ],
)
def test_body_sent_in_chunks_has_the_same_limit(
    client: FlaskClient, sql: Sql, body: bytes, status: int
) -> None:
    # What gunicorn sets for a body without a length.
    chunked = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}

    answer = client.post(REGISTER, data=body, content_type=JSON, environ_overrides=chunked)

    assert answer.status_code == status
    assert sql("SELECT count(*) FROM users") == [(1 if status == 201 else 0,)]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/vnd.api+json",
        "application",
        "json",
    ],
)
def test_body_of_another_type_is_415(
    client: FlaskClient, sql: Sql, path: str, content_type: str | None
) -> None:
    answer = client.post(path, data=registration_of(200), content_type=content_type)

    assert answer.status_code == 415
    assert answer.get_json() == {
        "error": "The request body must be sent as application/json.",
        "code": "unsupported_media_type",
    }
    assert sql("SELECT id FROM users") == []


@pytest.mark.parametrize(
    "content_type",
    [JSON, "application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"],
)
def test_body_of_json_is_read_with_any_parameter(client: FlaskClient, content_type: str) -> None:
    answer = client.post(REGISTER, data=registration_of(200), content_type=content_type)

    assert answer.status_code == 201
