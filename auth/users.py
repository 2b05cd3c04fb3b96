"""The users table: its rows as frozen dataclasses, and every statement on it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg2 import DataError
from psycopg2.errors import UniqueViolation
from psycopg2.extensions import cursor

from auth.errors import ApiError

_COLUMNS = "id, username, email, first_name, last_name, created_at"


@dataclass(frozen=True)
class User:
    """A row of users without its password hash. created_at: UTC, naive from a plain TIMESTAMP column."""

    id: int
    username: str
    email: str
    first_name: str | None
    last_name: str | None
    created_at: datetime | None


@dataclass(frozen=True)
class Credential:
    """A user and the hash that a password is verified against."""

    user: User
    password_hash: str = field(repr=False)


def create(
    cur: cursor,
    *,
    username: str,
    email: str,
    password_hash: str,
    first_name: str | None,
    last_name: str | None,
) -> User:
    """Insert a user; the unique indexes decide who was first.

    Raises ApiError `username_taken` or `email_taken`, and `validation_failed` where an older table is
    too narrow for the email or the database's encoding has no such character.
    """
    try:
        cur.execute(
            f"""
            INSERT INTO users (username, email, password, first_name, last_name)
            VALUES (%s, %s, %s, %s, %s)
            RETURNING {_COLUMNS}
            """,
            (username, email, password_hash, first_name, last_name),
        )
    except UniqueViolation as exc:
        raise ApiError(_taken(exc)) from exc
    except DataError as exc:
        names = {"first_name": first_name, "last_name": last_name}
        raise ApiError("validation_failed", fields=_unstorable(exc, names)) from exc
    return User(*_row(cur))


def find_by_id(cur: cursor, user_id: int) -> User | None:
    """Return the user with this id, None when there is none."""
    cur.execute(
        f"""
        SELECT {_COLUMNS}
        FROM users
        WHERE id = %s
        """,
        (user_id,),
    )
    row = cur.fetchone()
    return User(*row) if row else None


def find_by_login(cur: cursor, login: str) -> Credential | None:
    """Return the user whose email or username this is, without regard to case; None when there is none.

    An older version let a username look like somebody else's email: the owner of the address goes first.
    """
    statement = f"""
        SELECT password, {_COLUMNS}
        FROM users
        WHERE lower(email COLLATE "C") = lower(%(login)s COLLATE "C")
           OR lower(username COLLATE "C") = lower(%(login)s COLLATE "C")
        ORDER BY lower(email COLLATE "C") = lower(%(login)s COLLATE "C") DESC
        LIMIT 1
    """
    try:
        cur.execute(statement, {"login": login})
    except DataError:  # a character that the database's encoding does not have
        return None
    row = cur.fetchone()
    return Credential(User(*row[1:]), row[0]) if row else None


def replace_hash(cur: cursor, user_id: int, *, old: str, new: str) -> None:
    """Store a new hash of the same password, unless the password has changed meanwhile."""
    cur.execute(
        """
        UPDATE users
        SET password = %s
        WHERE id = %s AND password = %s
        """,
        (new, user_id, old),
    )


def is_writable(cur: cursor) -> bool:
    """Return whether users can be read and written now: not on a standby, nor behind somebody's lock."""
    cur.execute("SELECT current_setting('transaction_read_only') = 'off', EXISTS (SELECT FROM users)")
    return bool(_row(cur)[0])


def _row(cur: cursor) -> tuple[Any, ...]:
    row = cur.fetchone()
    assert row is not None  # both callers' statements always return one
    return row


def _taken(exc: UniqueViolation) -> str:
    return "email_taken" if "email" in (exc.diag.constraint_name or "") else "username_taken"


def _unstorable(exc: DataError, names: dict[str, str | None]) -> dict[str, str]:
    if exc.pgcode == "22001":  # string_data_right_truncation; an older version had VARCHAR(100) emails
        return {"email": "Email is too long for this service."}
    sentence = "Names hold a character that this service cannot store."
    return {field: sentence for field, name in names.items() if name and not name.isascii()}
