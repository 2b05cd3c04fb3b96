"""Log lines: JSON, an access line for every request, and no secret in any of them."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from config import Settings
from runtime import logs
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import LOGIN, ME, REGISTER, Actor, ClientOf
from tests.support.database import Sql, run_sql
from tests.support.registrations import ADA


@pytest.fixture
def debug_client(url: str) -> Iterator[FlaskClient]:
    """A client of a service that logs everything."""
    settings = Settings(
        db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4, log_level="DEBUG", jwt_expires_seconds=1
    )
    app = create_app(settings)
    run_sql(url, "DELETE FROM users")
    yield app.test_client()
    logs.configure("INFO")


@pytest.fixture
def printed(debug_client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the service prints in the test."""
    stream = io.StringIO()
    monkeypatch.setattr(logs, "write", lambda line: stream.write(f"{line}\n"))
    return stream


def access_lines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["logger"] == "access"]


def record(message: str, *args: object, **attributes: object) -> logging.LogRecord:
    log_record = logging.LogRecord("auth", logging.INFO, __file__, 1, message, args, None)
    log_record.__dict__.update(attributes)
    return log_record


def test_request_writes_one_access_line(client: FlaskClient, log_lines: list[dict[str, Any]]) -> None:
    answer = client.get("/health/live", environ_base={"REMOTE_ADDR": "192.0.2.7"})

    assert len(log_lines) == 1
    line = log_lines[0]
    duration, at = line.pop("duration_ms"), line.pop("time")
    assert line == {
        "level": "INFO",
        "logger": "access",
        "message": "request",
        "request_id": answer.headers["X-Request-ID"],
        "method": "GET",
        "path": "/health/live",
        "status": 200,
        "remote_addr": "192.0.2.7",
    }
    assert 0 <= duration < 5000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", LOGIN, 405),
        ("OPTIONS", LOGIN, 204),
        ("GET", ME, 401),
        ("POST", LOGIN, 415),
        ("HEAD", "/health", 200),
    ],
)
def test_access_line_has_the_method_path_and_status_of_the_answer(
    client: FlaskClient, log_lines: list[dict[str, Any]], method: str, path: str, status: int
) -> None:
    client.open(path, method=method)

    lines = access_lines(log_lines)
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [(method, path, status)]


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", ME, LOGIN])
def test_query_string_is_in_no_line(client: FlaskClient, log_lines: list[dict[str, Any]], path: str) -> None:
    client.get(f"{path}?token=hunter2")

    assert log_lines
    assert "hunter2" not in str(log_lines)


def test_referer_and_cookies_are_in_no_line(client: FlaskClient, log_lines: list[dict[str, Any]]) -> None:
    client.get("/health/live", headers={"Referer": "https://x.io/?hunter2", "Cookie": "session=hunter2"})

    assert "hunter2" not in str(log_lines)


def test_no_secret_is_in_any_line(debug_client: FlaskClient, printed: io.StringIO, url: str) -> None:
    actor = Actor(debug_client)
    tokens = [actor.register().pair["token"], actor.log_in().pair["token"]]
    actor.try_log_in(password="wrong horse")
    debug_client.post(REGISTER, json=ADA)
    debug_client.post(REGISTER, json=ADA | {"username": "bad name", "password": "sho\0rt"})
    debug_client.post(LOGIN, data=json.dumps(ADA) + "}", content_type="application/json")
    for token in (tokens[1], tokens[1][:-4], "a.b.hunter2"):
        actor.me(token)

    text = printed.getvalue()
    stored = run_sql(url, "SELECT password FROM users")[0][0]
    secrets = [PASSWORD, "horse", "sho", "hunter2", stored, stored[7:], SECRET_KEY, "ada@example.com", url]
    secrets += [token.rpartition(".")[2][:20] for token in tokens] + [token[:30] for token in tokens]
    assert len(text.splitlines()) >= 9
    assert [secret for secret in secrets if secret in text] == []


def test_no_secret_of_a_row_is_in_the_line_of_an_unexpected_error(
    debug_client: FlaskClient, printed: io.StringIO, url: str
) -> None:
    ada = Actor(debug_client).register()
    token = ada.pair["token"]
    stored = run_sql(url, "UPDATE users SET created_at = '20000-01-01' RETURNING password")[0][0]

    answers = [ada.try_log_in(), ada.me()]

    text = printed.getvalue()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert [line["exception"] for line in lines if line["level"] == "ERROR"] == ["ValueError"] * 2
    assert [word for word in (PASSWORD, stored, token, "Traceback", "20000") if word in text] == []


def test_every_line_of_a_service_is_one_json_object(debug_client: FlaskClient, printed: io.StringIO) -> None:
    debug_client.post(LOGIN, json={"username": "a\nb", "password": "x"})
    debug_client.get("/x%0A%7B%22level%22:%22FORGED%22%7D%E2%80%A8%C2%85%00")
    debug_client.get(ME, headers={"Authorization": "Bearer x"})

    lines = printed.getvalue().splitlines()
    assert len(access_lines([json.loads(line) for line in lines])) == 3
    assert all(json.loads(line).keys() >= {"time", "level", "logger", "message"} for line in lines)
    assert "FORGED" not in [json.loads(line)["level"] for line in lines]


def test_libraries_do_not_narrate_requests(debug_client: FlaskClient, printed: io.StringIO) -> None:
    debug_client.get("/health/live", headers={"Origin": "http://localhost:3000"})

    lines = [json.loads(line) for line in printed.getvalue().splitlines()]
    assert {line["logger"] for line in lines} == {"access"}


def test_warning_level_leaves_out_access_lines(
    client: FlaskClient, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("WARNING")
    try:
        client.get("/health/live")
        client.get(ME)
    finally:
        logs.configure("INFO")

    assert [json.loads(line)["level"] for line in capfd.readouterr().out.splitlines()] == ["WARNING"]


def test_format_of_a_message_with_arguments_is_one_line() -> None:
    line = logs.JsonFormatter().format(record("login_failed user_id=%s\nnext", 7))

    assert "\n" not in line
    assert json.loads(line)["message"] == "login_failed user_id=7\nnext"


def test_format_outside_of_a_request_has_no_request_id() -> None:
    line = json.loads(logs.JsonFormatter().format(record("started")))

    assert "request_id" not in line
    assert (line["level"], line["logger"]) == ("INFO", "auth")


def test_format_shows_the_time_in_utc() -> None:
    line = json.loads(logs.JsonFormatter().format(record("x", created=1_767_323_045.6789)))

    assert line["time"] == "2026-01-02T03:04:05.678Z"


def test_format_of_an_exception_leaves_out_its_text() -> None:
    try:
        raise KeyError("hunter2")
    except KeyError as exc:
        raised = (type(exc), exc, exc.__traceback__)

    text = logs.JsonFormatter().format(record("failed", exc_info=raised))

    line = json.loads(text)
    assert "\n" not in text
    assert line["exception"] == "KeyError"
    assert re.search(r"test_logs\.py:\d+ test_format_of_an_exception", line["frames"][0])
    assert "hunter2" not in text


def test_log_call_that_fails_is_a_line_and_no_exception(log_lines: list[dict[str, Any]]) -> None:
    handler = logs.StdoutHandler()
    handler.setFormatter(logs.JsonFormatter())

    handler.handle(record("%d users", "hunter2"))
    handler.handle(record(object(), "hunter2"))  # type: ignore[arg-type]

    assert [(line["logger"], line["level"]) for line in log_lines] == [("auth", "ERROR")] * 2
    assert [line["message"] for line in log_lines] == ["log_line_failed: %d users", "log_line_failed: object"]


def test_long_message_keeps_its_begin_and_its_cause() -> None:
    line = json.loads(logs.JsonFormatter().format(record(f"schema_not_applied: {'x' * 5000}: the cause")))

    assert line["message"].startswith("schema_not_applied: ")
    assert line["message"].endswith(": the cause")
    assert len(line["message"]) < 2100


@pytest.mark.parametrize(
    ("address", "logged"),
    [("::ffff:192.0.2.7", "192.0.2.7"), ("2001:DB8::1", "2001:db8::1"), ('"}\n{', ""), (None, "")],
)
def test_access_line_has_an_ip_address_or_none(
    client: FlaskClient, log_lines: list[dict[str, Any]], address: str | None, logged: str
) -> None:
    client.get("/health/live", environ_base={"REMOTE_ADDR": address})

    assert [line["remote_addr"] for line in log_lines] == [logged]


@pytest.mark.parametrize(
    "forwarded", ["192.0.2.7:5678", "10.0.0.1, ::ffff:192.0.2.7", "192.0.2.7"], ids=["port", "mapped", "bare"]
)
def test_session_and_access_line_have_the_same_address(
    client_of: ClientOf, ada: Actor, log_lines: list[dict[str, Any]], sql: Sql, forwarded: str
) -> None:
    user = ada.through(client_of(trusted_proxies=1))

    answer = user.send("POST", LOGIN, ADA, token="", headers={"X-Forwarded-For": forwarded})

    assert answer.status_code == 200
    assert sql("SELECT ip FROM auth_sessions ORDER BY id DESC LIMIT 1") == [("192.0.2.7",)]
    assert access_lines(log_lines)[-1]["remote_addr"] == "192.0.2.7"


def test_log_line_has_no_colour(log_lines: list[dict[str, Any]]) -> None:
    logging.getLogger("werkzeug").warning("\x1b[31m\x1b[1mWARNING: red\x1b[0m")

    assert log_lines[-1]["message"] == "WARNING: red"
