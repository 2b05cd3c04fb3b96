"""A table users that differs a little from schema.sql: what a client can mend, and what the operator must."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from auth import users
from runtime import clock
from tests.support import PASSWORD
from tests.support.actor import LOGIN, REGISTER, Actor
from tests.support.apps import client_on, messages
from tests.support.database import MakeDatabase, run_sql
from tests.support.registrations import ADA

SPECIFIED = {
    "id": "SERIAL PRIMARY KEY",
    "username": "VARCHAR(50) UNIQUE NOT NULL",
    "email": "VARCHAR(255) UNIQUE NOT NULL",
    "password": "TEXT NOT NULL",
    "first_name": "VARCHAR(100)",
    "last_name": "VARCHAR(100)",
    "created_at": "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
}


class Older:
    """The service on a table users that somebody else made. columns: their types, where they differ."""

    def __init__(self, url: str, statement: str = "", **columns: str) -> None:
        self.url = url
        described = ", ".join(f"{name} {kind}" for name, kind in (SPECIFIED | columns).items())
        run_sql(url, f"CREATE TABLE users ({described}); {statement}")

    def client(self) -> FlaskClient:
        return client_on(self.url)


def test_names_that_must_not_be_null_are_stored_empty(make_database: MakeDatabase) -> None:
    names = dict.fromkeys(["first_name", "last_name"], "VARCHAR(100) NOT NULL")
    older = Older(make_database(), **names)

    ada = Actor(older.client()).register(last_name="Lovelace")
    changed = ada.change_profile(last_name=None)

    assert changed.status_code == 200
    assert ada.pair["user"]["first_name"] == ""
    assert run_sql(older.url, "SELECT first_name, last_name FROM users") == [("", "")]


@pytest.mark.parametrize(
    ("columns", "statement", "field"),
    [
        pytest.param(
            {"username": "VARCHAR(50) UNIQUE NOT NULL CHECK (length(username) > 3)"},
            "",
            "username",
            id="of a column",
        ),
        pytest.param(
            {}, "ALTER TABLE users ADD CHECK (email NOT LIKE '%@example.com')", "email", id="of the table"
        ),
        pytest.param({"first_name": "long_name"}, "", "first_name", id="of a domain"),
    ],
)
def test_check_on_what_the_client_sent_names_the_field(
    make_database: MakeDatabase, columns: dict[str, str], statement: str, field: str
) -> None:
    url = make_database()
    run_sql(url, "CREATE DOMAIN long_name AS VARCHAR(100) CHECK (length(VALUE) > 3)")
    client = Older(url, statement, **columns).client()

    answer = client.post(REGISTER, json=ADA | {"first_name": "Ada"})

    assert (answer.status_code, answer.get_json()["code"]) == (400, "validation_failed")
    assert list(answer.get_json()["fields"]) == [field]
    assert run_sql(url, "SELECT count(*) FROM users") == [(0,)]


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        pytest.param(
            "SELECT setval('users_id_seq', 2147483647)",
            ["sqlstate=2200H", '"users_id_seq"'],
            id="sequence at its end",
        ),
        pytest.param(
            "ALTER SEQUENCE users_id_seq AS BIGINT; SELECT setval('users_id_seq', 2147483647)",
            ["sqlstate=22003"],
            id="sequence past its column",
        ),
        pytest.param(
            "INSERT INTO users VALUES (1, 'bob', 'bob@example.com', 'x')",
            ["sqlstate=23505", "table=users", "constraint=users_pkey"],
            id="sequence behind its table",
        ),
        pytest.param(
            "ALTER TABLE users ADD tenant INTEGER NOT NULL",
            ["sqlstate=23502", "table=users", "column=tenant"],
            id="unknown column without a default",
        ),
        pytest.param(
            "ALTER TABLE users ADD CONSTRAINT strong CHECK (password LIKE 'argon%')",
            ["sqlstate=23514", "table=users", "constraint=strong"],
            id="check on no field",
        ),
        pytest.param(
            "ALTER TABLE users ADD one INTEGER CONSTRAINT single UNIQUE DEFAULT 1;"
            "INSERT INTO users VALUES (9, 'bob', 'bob@example.com', 'x')",
            ["sqlstate=23505", "constraint=single"],
            id="unique on no field",
        ),
        pytest.param(
            "ALTER TABLE users ALTER password TYPE VARCHAR(50);"
            "CREATE VIEW hashes AS SELECT password FROM users",
            ["sqlstate=22001", "column=password"],
            id="no room for a hash",
        ),
        pytest.param(
            "CREATE FUNCTION refuse() RETURNS TRIGGER AS 'BEGIN RAISE EXCEPTION ''not on Sundays''; END'"
            " LANGUAGE plpgsql; CREATE TRIGGER refuse BEFORE INSERT ON users EXECUTE FUNCTION refuse()",
            ["sqlstate=P0001", "not on Sundays"],
            id="trigger that refuses",
        ),
    ],
)
def test_what_only_the_operator_can_mend_is_500_with_its_cause_in_one_line(
    make_database: MakeDatabase, log_lines: list[dict[str, Any]], statement: str, cause: list[str]
) -> None:
    older = Older(make_database(), statement)
    client = older.client()
    stored = run_sql(older.url, "SELECT count(*) FROM users")

    answer = client.post(REGISTER, json=ADA)

    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    (line,) = messages(log_lines, "ERROR")
    assert [part for part in cause if part not in line] == []
    assert "PostgreSQL runs" not in line
    assert not [secret for secret in ("$2b$", "ada@example.com") if secret in str(log_lines)]
    assert run_sql(older.url, "SELECT count(*) FROM users") == stored


def test_unique_violation_is_named_by_its_column_not_by_its_constraint(make_database: MakeDatabase) -> None:
    older = Older(
        make_database(),
        "CREATE UNIQUE INDEX people_once ON users (email);"
        "ALTER TABLE users ADD CONSTRAINT email UNIQUE (username)",
        username="VARCHAR(50) NOT NULL",
        email="VARCHAR(255) NOT NULL",
    )
    client = older.client()
    client.post(REGISTER, json=ADA)

    same_email = client.post(REGISTER, json=ADA | {"username": "ada2"})
    same_username = client.post(REGISTER, json=ADA | {"email": "ada2@example.com"})

    assert (same_email.status_code, same_email.get_json()["code"]) == (409, "email_taken")
    assert (same_username.status_code, same_username.get_json()["code"]) == (409, "username_taken")


def test_id_beyond_32_bits_works_everywhere(make_database: MakeDatabase) -> None:
    older = Older(make_database(), "SELECT setval('users_id_seq', 3000000000)", id="BIGSERIAL PRIMARY KEY")

    ada = Actor(older.client()).register()
    login, me, sessions, refreshed = ada.try_log_in(), ada.me(), ada.sessions(), ada.try_refresh()

    assert ada.pair["userId"] == 3000000001
    assert [answer.status_code for answer in (login, me, sessions, refreshed)] == [200] * 4
    assert me.get_json()["id"] == 3000000001


def test_start_warns_once_where_the_table_differs(
    make_database: MakeDatabase, log_lines: list[dict[str, Any]]
) -> None:
    older = Older(
        make_database(),
        "ALTER TABLE users ADD tenant INTEGER NOT NULL, ADD plan TEXT NOT NULL DEFAULT 'free',"
        " ADD CONSTRAINT short CHECK (length(username) > 1);"
        "CREATE VIEW names AS SELECT email FROM users",
        id="BIGSERIAL PRIMARY KEY",
        username="TEXT UNIQUE NOT NULL",
        email="VARCHAR(100) UNIQUE NOT NULL",
        first_name="VARCHAR(100) NOT NULL",
    )
    older.client()
    log_lines.clear()

    older.client()

    warnings = [line["message"] for line in log_lines if "schema" in line["message"]]
    assert warnings == [
        "schema_differs: users: id is bigint instead of SERIAL; "
        "email is character varying(100) instead of VARCHAR(255); "
        "first_name is NOT NULL; tenant is NOT NULL without a default; has the CHECK short"
    ]


def test_stored_names_with_blanks_log_in_as_they_are_stored(make_database: MakeDatabase) -> None:
    older = Older(make_database())
    client = older.client()
    for number in range(1, 4):
        Actor(client, f"u{number}").register()
    run_sql(older.url, "UPDATE users SET username = 'ada', email = 'a@example.com' WHERE id = 1")
    run_sql(older.url, "UPDATE users SET username = 'Ada ', email = ' b@example.com' WHERE id = 2")
    run_sql(older.url, "UPDATE users SET username = 'a@example.com ' WHERE id = 3")

    identifiers = [
        "ada",
        "ada ",
        "ada  ",
        " ada",
        " B@example.com",
        "a@example.com",
        "a@example.com ",
        " a@example.com",
    ]
    answers = [client.post(LOGIN, json={"username": name, "password": PASSWORD}) for name in identifiers]
    other = client.post(LOGIN, json={"email": "b@example.com", "password": PASSWORD})

    assert [answer.get_json()["user"]["id"] for answer in answers] == [1, 2, 1, 1, 2, 1, 3, 1]
    assert other.status_code == 401


def test_login_of_a_name_uses_the_indexes(make_database: MakeDatabase) -> None:
    older = Older(make_database())
    older.client()
    plan: list[str] = []

    class ExplainingCursor:
        """Explains a statement instead of running it, and finds no row."""

        def execute(self, statement: str, parameters: dict[str, str]) -> None:
            rows = run_sql(older.url, f"SET enable_seqscan = off; EXPLAIN {statement % quoted(parameters)}")
            plan.extend(row[0] for row in rows)

        def fetchone(self) -> None:
            return None

    def quoted(parameters: dict[str, str]) -> dict[str, str]:
        return {name: f"'{value}'" for name, value in parameters.items()}

    users.find_by_login(ExplainingCursor(), "ada ", now=clock.now())  # type: ignore[arg-type]

    assert "users_username_lower_key" in str(plan)
    assert "users_email_lower_key" in str(plan)
    assert "Seq Scan" not in str(plan)
