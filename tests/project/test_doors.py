"""The list of doors: no way to sign in goes around the second factor.

Whoever adds a way in adds it here, and tells why a user with a second factor cannot use it to go around.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import contract, doors, source
from tests.support.actor import Actor
from tests.support.database import Sql
from tests.support.rows import session_ids
from tests.support.second_factors import enrol, first_step
from tests.support.source import Module

SESSION, OPEN, ENTER = "auth.sessions.create", "auth.sign_in.open_session", "auth.sign_in.enter"
PAIR, TOKEN = "auth.tokens.pair.issue", "auth.tokens.access.issue"

# Every use of a door, and why it leads nobody around a second factor.
ALLOWED: dict[doors.Use, str] = {
    ("auth/sessions.py", "create", doors.SQL_OF_A_SESSION): "the door SESSION itself",
    ("auth/sign_in.py", "open_session", SESSION): "the door OPEN itself",
    ("auth/sign_in.py", "enter", OPEN): "the door ENTER itself",
    ("auth/sign_in.py", "admit", ENTER): "after it has refused a user whose second factor is due",
    ("auth/features/two_factor/login.py", "_enter", ENTER): "uses a ticket and a code up in the transaction",
    ("auth/features/registration.py", "create", OPEN): "the user is new, and has no second factor",
    ("auth/features/password.py", "_change", OPEN): "the user is in, and has used a code up",
    ("auth/sign_in.py", "open_session", PAIR): "the tokens of the session that it opens",
    ("auth/tokens/rotation.py", "rotate", PAIR): "a session that is open goes on",
    ("auth/tokens/pair.py", "issue", TOKEN): "the door PAIR itself",
}

Try = Callable[[Actor], Any]


def log_in_by_email(user: Actor) -> Any:
    return user.send("POST", "/api/auth/login", {"email": user.email, "password": user.password}, token="")


# Every operation that may answer an access token: how it is tried for a user with a second factor, or why it
# is no way in.
TRIED: dict[tuple[str, str], list[Try]] = {("POST", "/api/auth/login"): [first_step, log_in_by_email]}
NO_WAY_IN = {
    ("POST", "/api/auth/register"): "the user is new, and has no second factor",
    ("POST", "/api/auth/refresh"): "the session is open already",
    ("PUT", "/api/auth/me/password"): "the user is in already, and is asked for a code",
    ("POST", "/api/auth/login/2fa"): "it is the second factor",
}


def test_every_use_of_a_door_is_on_the_list() -> None:
    found = {use for module in source.service_modules() for use in doors.uses(module)}

    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    ("text", "door"),
    [
        ("from auth import sessions\ndef enter_oauth(cur):\n    sessions.create(cur, 7)", SESSION),
        ("from auth.sessions import create as new\ndef enter_oauth(cur):\n    new(cur, 7)", SESSION),
        ("import auth.sessions\ndef enter_oauth(cur):\n    auth.sessions.create(cur, 7)", SESSION),
        ("import auth.sessions as s\ndef enter_oauth(cur):\n    s.create(cur, 7)", SESSION),
        ("from ... import sessions\ndef enter_oauth(cur):\n    sessions.create(cur, 7)", SESSION),
        ("from auth import sign_in\ndef enter_oauth(db):\n    db.write(sign_in.open_session, 7)", OPEN),
        ("from auth import sign_in\ndef enter_oauth(cur):\n    return partial(sign_in.enter, cur)", ENTER),
        ("from auth.sign_in import enter\ndef enter_oauth(cur):\n    door = enter\n    door(cur)", ENTER),
        ("def enter_oauth(cur):\n    from auth.sign_in import enter\n    enter(cur)", ENTER),
        ("from auth.tokens import pair\ndef enter_oauth(cur):\n    pair.issue(refresh, grant)", PAIR),
        ("from auth.tokens.access import issue\ndef enter_oauth(cur):\n    issue(7)", TOKEN),
        ("def enter_oauth(cur):\n    run('INSERT  INTO auth_sessions VALUES (7)')", doors.SQL_OF_A_SESSION),
        ("def enter_oauth(cur):\n    run(f'INSERT INTO auth_sessions {x}')", doors.SQL_OF_A_SESSION),
    ],
)
def test_use_that_is_not_on_the_list_is_found(text: str, door: str) -> None:
    path = "auth/features/oauth/routes.py"

    assert doors.uses(Module(path, text)) == {(path, "enter_oauth", door)}
    assert (path, "enter_oauth", door) not in ALLOWED


@pytest.mark.parametrize(
    "text",
    [
        "from auth import sign_in\ndef log_in(auth):\n    sign_in.admit(auth)",
        "from auth import users\ndef log_in(cur):\n    users.create(cur)",
        "def log_in(turns):\n    turns.enter()",
    ],
)
def test_what_is_no_door_is_left(text: str) -> None:
    assert doors.uses(Module("auth/features/oauth/routes.py", text)) == set()


def test_every_operation_that_answers_a_token_is_on_the_list() -> None:
    found = doors.operations_with_a_token(contract.contract()["paths"])

    assert found == TRIED.keys() | NO_WAY_IN.keys()
    assert TRIED.keys().isdisjoint(NO_WAY_IN)


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"properties": {"token": {}}}, id="object"),
        pytest.param({"allOf": [{"oneOf": [{}, {"properties": {"token": {}}}]}]}, id="alternative"),
        pytest.param({"properties": {"session": {"properties": {"access_token": {}}}}}, id="nested"),
    ],
)
def test_operation_that_is_not_on_the_list_is_found(schema: dict[str, Any]) -> None:
    success = {"content": {"application/json": {"schema": schema}}}
    paths = {"/oauth": {"post": {"responses": {"200": success}}, "get": {"responses": {"400": success}}}}

    assert doors.operations_with_a_token(paths) == {("POST", "/oauth")}


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        pytest.param(name, call, id=f"{name[1]} {call.__name__}")
        for name, calls in TRIED.items()
        for call in calls
    ],
)
def test_way_in_stops_at_the_second_factor(
    ada: Actor, sql: Sql, operation: tuple[str, str], call: Try
) -> None:
    enrol(ada)
    before = session_ids(sql)

    answer = call(ada)

    request = answer.request
    assert (request.method, request.path) == operation
    assert (answer.status_code, answer.get_json()["code"]) == (401, "second_factor_required")
    assert answer.get_json().keys() == {"error", "code", "ticket", "expires_in"}
    assert "Set-Cookie" not in answer.headers
    assert session_ids(sql) == before


def test_change_of_the_password_is_no_way_around(ada: Actor, sql: Sql) -> None:
    enrol(ada)
    before = session_ids(sql)

    answer = ada.change_password()

    assert (answer.status_code, answer.get_json()["code"]) == (403, "code_invalid")
    assert session_ids(sql) == before
