"""What holds for every request and every answer, whatever the endpoint."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from config import Settings
from tests.support import PASSWORD, SECRET_KEY
from tests.support.database import MakeDatabase, Sql, run_sql

REGISTER, LOGIN, ME = "/api/auth/register", "/api/auth/login", "/api/auth/me"
POSTS = [REGISTER, LOGIN]
JSON = "application/json"
ORIGIN = "http://localhost:3000"
ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
MAX_BODY_BYTES = 65536
ALLOWED = {"authorization", "content-type", "x-request-id"}
ALLOWED |= {"traceparent", "tracestate", "baggage", "sentry-trace"}


def app_on(db_url: str, **changes: Any) -> Flask:
    return create_app(Settings(db_url=db_url, secret_key=SECRET_KEY, bcrypt_rounds=4, **changes))


def registration_of(length: int) -> bytes:
    """Return a valid registration of `length` bytes."""
    start = b'{"username":"ada","email":"ada@example.com","password":"correct horse","padding":"'
    return start + b"x" * (length - len(start) - 2) + b'"}'


@pytest.fixture(scope="module")
def broken(make_database: MakeDatabase) -> Iterator[FlaskClient]:
    """A client of a service with a row that no answer can be made of: its date is past Python's last year."""
    url = make_database()
    client = app_on(url).test_client()
    client.post(REGISTER, json=ADA)
    run_sql(url, "UPDATE users SET created_at = '20000-01-01'")
    yield client
    client.application.extensions["auth"].database.close()


@pytest.fixture(scope="module")
def lost() -> FlaskClient:
    """A client of a service whose database cannot be reached."""
    return app_on("postgresql://operator@/users?host=/nowhere").test_client()


# One call for every kind of answer: which client, what it sends, the status.
ANSWERS = [
    pytest.param("client", {"path": "/health"}, 200, id="200 health"),
    pytest.param("client", {"path": "/health/live"}, 200, id="200 live"),
    pytest.param("client", {"path": REGISTER, "method": "POST", "json": ADA}, 201, id="201"),
    pytest.param("client", {"path": REGISTER, "method": "OPTIONS"}, 204, id="204"),
    pytest.param("client", {"path": LOGIN, "method": "POST", "json": {}}, 400, id="400 fields"),
    pytest.param(
        "client", {"path": LOGIN, "method": "POST", "data": "{", "content_type": JSON}, 400, id="400 body"
    ),
    pytest.param("client", {"path": LOGIN, "method": "POST", "json": ADA}, 401, id="401 login"),
    pytest.param("client", {"path": ME}, 401, id="401 me"),
    pytest.param("client", {"path": "/api/nowhere"}, 404, id="404"),
    pytest.param("client", {"path": LOGIN}, 405, id="405"),
    pytest.param("broken", {"path": REGISTER, "method": "POST", "json": ADA}, 409, id="409"),
    pytest.param(
        "client",
        {"path": REGISTER, "method": "POST", "data": b"x" * (MAX_BODY_BYTES + 1), "content_type": JSON},
        413,
        id="413",
    ),
    pytest.param("client", {"path": LOGIN, "method": "POST", "data": "{}"}, 415, id="415"),
    pytest.param("broken", {"path": LOGIN, "method": "POST", "json": ADA}, 500, id="500"),
    pytest.param("lost", {"path": LOGIN, "method": "POST", "json": ADA}, 503, id="503"),
    pytest.param("lost", {"path": "/health"}, 503, id="503 health"),
]


def send(request: pytest.FixtureRequest, client: str, call: dict[str, Any], **headers: str) -> TestResponse:
    found: FlaskClient = request.getfixturevalue(client)
    return found.open(**call, headers=headers)


def cors_headers(answer: TestResponse) -> list[str]:
    return [name for name in answer.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118


@pytest.mark.parametrize(("client_name", "call", "status"), ANSWERS)
def test_every_answer_carries_the_common_headers(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int
) -> None:
    answer = send(request, client_name, call)

    assert answer.status_code == status
    assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])
    assert answer.headers.getlist("Vary") == ["Origin"]
    private = call["path"].startswith("/api/") and status < 300
    assert answer.headers.get("Cache-Control") == ("no-store" if private else None)


@pytest.mark.parametrize(("client_name", "call", "status"), ANSWERS)
def test_every_answer_is_json_or_empty(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int
) -> None:
    answer = send(request, client_name, call)

    if status == 204:
        assert (answer.data, answer.headers.get("Content-Type")) == (b"", None)
    else:
        assert answer.headers["Content-Type"] == JSON
        assert isinstance(answer.get_json(), dict)


@pytest.mark.parametrize(
    ("client_name", "call", "status"), [case for case in ANSWERS if int(str(case.id)[:3]) >= 400]
)
def test_every_error_has_a_sentence_and_a_code(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int
) -> None:
    body = send(request, client_name, call).get_json()

    assert re.fullmatch(r"[a-z_]+", body["code"])
    assert isinstance(body["error"], str)
    assert " " in body["error"]
    assert body.keys() <= {"error", "code", "fields", "status", "service", "database", "timestamp"}


@pytest.mark.parametrize(("client_name", "call", "status"), ANSWERS)
@pytest.mark.parametrize(
    "origin", [ORIGIN, "http://localhost:3001", "http://127.0.0.1:3000", "http://127.0.0.1:3001"]
)
def test_cors_lets_a_known_origin_read_every_answer(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int, origin: str
) -> None:
    answer = send(request, client_name, call, Origin=origin)

    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert answer.status_code == status
    assert answer.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert answer.headers.getlist("Access-Control-Allow-Credentials") == ["true"]
    assert exposed == {"Retry-After", "X-Request-ID"}
    assert answer.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize(("client_name", "call", "status"), ANSWERS)
def test_cors_lets_an_unknown_origin_read_no_answer(
    request: pytest.FixtureRequest, client_name: str, call: dict[str, Any], status: int
) -> None:
    answer = send(request, client_name, call, Origin="https://evil.example")

    assert answer.status_code == status
    assert cors_headers(answer) == []
    assert answer.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "*",
        "http://localhost:3000.evil.example",
        "http://localhost:30001",
        "http://localhost:300",
        "http://localhost",
        "https://localhost:3000",
        "http://evil.example/http://localhost:3000",
        "http://xlocalhost:3000",
        "https://127.0.0.1:3000",
        "http://127.0.0.1:3002",
        "http://127.0.0.11:3000",
        f"{ORIGIN}/",
        f"{ORIGIN}, https://evil.example",
    ],
)
def test_cors_takes_no_origin_for_a_known_one(client: FlaskClient, origin: str) -> None:
    answers = [
        client.get("/health/live", headers={"Origin": origin}),
        client.options(LOGIN, headers={"Origin": origin, "Access-Control-Request-Method": "POST"}),
    ]

    assert [cors_headers(answer) for answer in answers] == [[], []]


def test_cors_says_nothing_without_an_origin(client: FlaskClient) -> None:
    answer = client.get("/health/live")

    assert cors_headers(answer) == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_cors_preflight_allows_every_method_and_is_cacheable(client: FlaskClient, method: str) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ", ".join(ALLOWED),
    }

    answer = client.options(LOGIN, headers=headers)

    methods = {name.strip() for name in answer.headers["Access-Control-Allow-Methods"].split(",")}
    allowed = {name.strip().lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert methods == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert allowed == ALLOWED
    assert int(answer.headers["Access-Control-Max-Age"]) >= 60


def test_cors_preflight_allows_no_other_header(client: FlaskClient) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-evil",
    }

    answer = client.options(LOGIN, headers=headers)

    assert "x-evil" not in answer.headers.get("Access-Control-Allow-Headers", "").lower()


@pytest.mark.parametrize(
    ("origin", "known"),
    [
        pytest.param("https://app.example.com", True, id="set"),
        pytest.param("http://[::1]:3000", True, id="an IPv6 address"),
        pytest.param("https://appxexample.com", False, id="a dot is no wildcard"),
        pytest.param("http://1:3000", False, id="brackets are no pattern"),
        pytest.param("http://[::1]:3000.evil.example", False, id="longer than an IPv6 address"),
        pytest.param(ORIGIN, False, id="the default is replaced"),
    ],
)
def test_cors_follows_the_settings(lost: FlaskClient, origin: str, known: bool) -> None:
    origins = ("https://app.example.com", "http://[::1]:3000")
    client = app_on("postgresql://operator@/users?host=/nowhere", cors_origins=origins).test_client()

    answer = client.get("/health/live", headers={"Origin": origin})

    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if known else None)


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
@pytest.mark.parametrize("length", [MAX_BODY_BYTES + 1, 10 * MAX_BODY_BYTES])
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
        None,
        "",
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


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nowhere",
        "/api",
        "/api/",
        "/api/auth",
        "/api/auth/",
        "/api/auth/nowhere",
        "/api/auth/me/",
        "/health/",
        "/Health",
        "/static/app.py",
        "/api//auth/me",
        "/api/auth//login",
        "/api/auth/../auth/me",
        "/health/live\n",
    ],
)
def test_unknown_address_is_404(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open("/", method=method, environ_overrides={"PATH_INFO": path})

    assert answer.status_code == 404
    assert answer.get_json() == {"error": "There is nothing at this address.", "code": "not_found"}
    assert "Location" not in answer.headers


@pytest.mark.parametrize(("path", "status"), [("//health", 200), ("//api/auth/me", 401), ("//nowhere", 404)])
def test_leading_double_slash_is_answered_without_a_redirect(
    client: FlaskClient, path: str, status: int
) -> None:
    answer = client.open("/", environ_overrides={"PATH_INFO": path})

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == JSON
    assert "Location" not in answer.headers
    assert "Cache-Control" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", REGISTER, {"POST", "OPTIONS"}),
        ("HEAD", LOGIN, {"POST", "OPTIONS"}),
        ("PUT", LOGIN, {"POST", "OPTIONS"}),
        ("PATCH", REGISTER, {"POST", "OPTIONS"}),
        ("POST", ME, {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("PUT", ME, {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("POST", "/health", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/health/live", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", LOGIN, {"POST", "OPTIONS"}),
        ("BREW", LOGIN, {"POST", "OPTIONS"}),
    ],
)
def test_unsupported_method_is_405_with_the_supported_ones(
    client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.open(path, method=method)

    assert answer.status_code == 405
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == allowed
    if method != "HEAD":
        assert answer.get_json() == {
            "error": "This address does not support that method.",
            "code": "method_not_allowed",
        }


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (REGISTER, {"POST", "OPTIONS"}),
        (ME, {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("/health", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_options_is_204_with_the_supported_methods(client: FlaskClient, path: str, allowed: set[str]) -> None:
    answer = client.options(path)

    assert (answer.status_code, answer.data) == (204, b"")
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == allowed


def test_options_of_an_unknown_address_is_404(client: FlaskClient) -> None:
    answer = client.options("/api/nowhere", headers={"Origin": ORIGIN})

    assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")


def test_malformed_host_is_400(client: FlaskClient) -> None:
    answer = client.get("/health/live", headers={"Host": "a..b"})

    assert answer.status_code == 400
    assert answer.get_json() == {"error": "The request could not be understood.", "code": "bad_request"}


@pytest.mark.parametrize(
    "given", ["a", "0", "req-7f3a.B_2", "x" * 64, "550e8400-e29b-41d4-a716-446655440000"]
)
def test_request_id_of_the_client_is_kept(client: FlaskClient, given: str) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": given})

    assert answer.headers.getlist("X-Request-ID") == [given]


@pytest.mark.parametrize(
    "given", ["", " ", "x" * 65, "a b", "a/b", "a,b", "a;b", '{"a":1}', "\u00e4", "<script>", "a\tb", "a:b"]
)
def test_request_id_that_is_not_plain_is_replaced(client: FlaskClient, given: str) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": given})

    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_request_id_is_new_for_every_request(client: FlaskClient) -> None:
    ids = {client.get("/health/live").headers["X-Request-ID"] for _ in range(20)}

    assert len(ids) == 20


def test_request_id_is_in_every_log_line(client: FlaskClient, log_lines: list[dict[str, Any]]) -> None:
    client.post(LOGIN, json=ADA, headers={"X-Request-ID": "mine"})

    assert {line["logger"] for line in log_lines} == {"auth", "access"}
    assert {line["request_id"] for line in log_lines} == {"mine"}


def test_request_id_is_in_the_log_lines_of_an_unexpected_error(
    broken: FlaskClient, log_lines: list[dict[str, Any]]
) -> None:
    broken.post(LOGIN, json=ADA, headers={"X-Request-ID": "mine"})

    assert len(log_lines) == 2
    assert {line["request_id"] for line in log_lines} == {"mine"}


def test_unexpected_error_is_500_without_details(broken: FlaskClient) -> None:
    answer = broken.post(LOGIN, json=ADA)

    assert answer.status_code == 500
    assert answer.get_json() == {"error": "Something went wrong on our side.", "code": "internal_error"}


def test_unexpected_error_is_logged_in_one_line_without_its_text(
    broken: FlaskClient, log_lines: list[dict[str, Any]]
) -> None:
    broken.post(LOGIN, json=ADA)

    errors = [line for line in log_lines if line["level"] == "ERROR"]
    assert len(errors) == 1
    assert errors[0]["exception"] == "ValueError"
    assert any("find_by_login" in frame for frame in errors[0]["frames"])
    assert not [word for word in ("Traceback", "20000", "$2b$", PASSWORD) if word in str(log_lines)]


def test_service_keeps_answering_after_an_unexpected_error(broken: FlaskClient) -> None:
    statuses = [broken.post(LOGIN, json=ADA).status_code for _ in range(20)]

    assert statuses == [500] * 20
    assert broken.get("/health").status_code == 200
