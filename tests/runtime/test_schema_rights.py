"""schema.sql and a role of DB_URL that lacks rights."""

import re
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from db import Database, SchemaError
from tests.support import PASSWORD
from tests.support.actor import NEW_PASSWORD, REGISTER, Actor
from tests.support.apps import client_on, messages
from tests.support.database import MakeDatabase, on_database, run_sql
from tests.support.older_tables import CARRY_BACK, LONG
from tests.support.second_factors import disable, enrol

OWN_TABLES = (
    "auth_sessions, auth_throttle, auth_emails, auth_one_time_tokens, auth_second_factors, auth_tickets,"
    " auth_outbox"
)


@pytest.fixture
def plain_role(postgres_url: str, make_database: MakeDatabase) -> Iterator[str]:
    """The URL of a database, as a role that has no rights but to log in."""
    if int(run_sql(postgres_url, "SHOW server_version_num")[0][0]) < 150000:
        pytest.skip("before PostgreSQL 15 everybody may create tables in the schema public")
    role = f"user_service_test_{secrets.token_hex(6)}"
    url = make_database()
    run_sql(url, f"CREATE ROLE {role} LOGIN PASSWORD 'plain'")
    host = urlsplit(url).netloc.rpartition("@")[2]
    yield urlunsplit(urlsplit(url)._replace(netloc=f"{role}:plain@{host}"))
    run_sql(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


def as_owner(plain_role: str, postgres_url: str) -> str:
    """Return the URL of the same database, as the role that owns it."""
    return on_database(postgres_url, urlsplit(plain_role).path.lstrip("/"))


def test_role_that_may_not_create_tables_is_told_what_helps(plain_role: str, postgres_url: str) -> None:
    with pytest.raises(SchemaError) as caught:
        Database(plain_role).apply_schema()
    (remedy,) = re.findall(r"GRANT [^)]+", str(caught.value))
    run_sql(as_owner(plain_role, postgres_url), remedy)

    Database(plain_role).apply_schema()

    assert "permission denied for schema public" in str(caught.value)
    assert run_sql(plain_role, "SELECT count(*) FROM users") == [(0,)]


def test_role_that_may_not_change_a_complete_schema_can_serve(
    plain_role: str, postgres_url: str, log_lines: list[dict[str, Any]]
) -> None:
    owner = as_owner(plain_role, postgres_url)
    role = urlsplit(plain_role).username
    Database(owner).apply_schema()
    run_sql(owner, "DROP TABLE auth_schema")  # which an earlier version did not have
    run_sql(owner, f"GRANT ALL ON users, {OWN_TABLES} TO {role}")
    run_sql(owner, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")

    client = client_on(plain_role)

    assert client.post(REGISTER, json=LONG).status_code == 201
    warnings = messages(log_lines, "WARNING")
    assert [text.partition(":")[0] for text in warnings if "schema" in text] == [
        "schema_not_brought_up_to_date"
    ]


def test_role_with_rights_on_our_columns_alone_can_serve_every_call(
    plain_role: str, postgres_url: str
) -> None:
    owner = as_owner(plain_role, postgres_url)
    role = urlsplit(plain_role).username
    columns = "id, username, email, password, first_name, last_name, created_at"
    Database(owner).apply_schema()
    run_sql(owner, "ALTER TABLE users ADD COLUMN salary TEXT")  # which is no business of the service
    for right in ("SELECT", "INSERT", "UPDATE"):
        run_sql(owner, f"GRANT {right} ({columns}) ON users TO {role}")
    run_sql(owner, f"GRANT DELETE ON users TO {role}; GRANT ALL ON {OWN_TABLES} TO {role}")
    run_sql(owner, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")

    ada = Actor(client_on(plain_role)).register().refresh()
    phone = ada.elsewhere()
    answers = [
        ada.me(),
        ada.change_profile(first_name="Ada"),
        ada.change_profile(username="countess", current_password=PASSWORD),
        ada.sessions(),
        ada.revoke_session(phone.session_id),
        ada.revoke_other_sessions(),
        disable(ada, recovery_code=enrol(ada).recovery_codes[0]),
        password_change := ada.change_password(),
        ada.holding(password_change.get_json()).delete(NEW_PASSWORD),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 204, 204, 204, 200, 204]


def test_role_that_may_not_rename_the_older_table_of_sessions_is_told_what_helps(
    plain_role: str, postgres_url: str
) -> None:
    owner = as_owner(plain_role, postgres_url)
    Database(owner).apply_schema()
    run_sql(owner, CARRY_BACK)
    run_sql(owner, f"GRANT CREATE ON SCHEMA public TO {urlsplit(plain_role).username}")

    with pytest.raises(
        SchemaError, match="must be owner of table sessions; make the role of DB_URL the owner"
    ):
        Database(plain_role).apply_schema()

    assert run_sql(owner, "SELECT to_regclass('auth_sessions')") == [(None,)]


def test_right_that_is_taken_away_is_unhealthy_and_named(
    plain_role: str, postgres_url: str, log_lines: list[dict[str, Any]]
) -> None:
    owner = as_owner(plain_role, postgres_url)
    role = urlsplit(plain_role).username
    Database(owner).apply_schema()
    run_sql(owner, f"GRANT ALL ON users, {OWN_TABLES} TO {role}")
    run_sql(owner, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    client = client_on(plain_role)
    before = client.get("/health")
    run_sql(
        owner, f"REVOKE INSERT, DELETE ON auth_sessions FROM {role}; REVOKE ALL ON users_id_seq FROM {role}"
    )

    health, registration = client.get("/health"), client.post(REGISTER, json=LONG)

    assert (before.status_code, health.status_code, registration.status_code) == (200, 503, 500)
    assert health.get_json()["error"] == "The database does not let the service use its tables."
    errors = messages(log_lines, "ERROR")
    assert (
        "lacks rights: auth_sessions: INSERT, auth_sessions: DELETE, public.users_id_seq: USAGE" in errors[0]
    )
    assert "database_refused sqlstate=42501: permission denied" in errors[1]
