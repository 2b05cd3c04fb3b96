"""Registration: the one statement that makes a row in users and one in auth_sessions."""

from psycopg2.extensions import cursor

from auth.constraint_errors import store
from auth.sessions import INSERT as INSERT_SESSION
from auth.sessions import NewSession
from auth.users import User


def create(
    cur: cursor,
    *,
    username: str,
    email: str,
    password_hash: str,
    first_name: str | None,
    last_name: str | None,
    session: NewSession,
) -> tuple[User, int]:
    """Insert a user with a first session, and return both, the session by its id.

    There is no look before: the unique indexes decide who was first. Raises as `storing.store` does.
    """
    values = {"username": username, "email": email, "first_name": first_name, "last_name": last_name}
    store(
        cur,
        f"""
        WITH created AS (
            INSERT INTO users (username, email, password, first_name, last_name)
            VALUES (%(username)s, %(email)s, %(password_hash)s, %(first_name)s, %(last_name)s)
            RETURNING id, username, email, first_name, last_name, created_at
        ), opened AS (
            {INSERT_SESSION} FROM created RETURNING id
        )
        SELECT opened.id, created.* FROM created, opened
        """,
        values,
        vars(session) | {"password_hash": password_hash},
    )
    row = cur.fetchone()
    assert row is not None  # the statement returns a row or raises
    return User(*row[1:]), row[0]
