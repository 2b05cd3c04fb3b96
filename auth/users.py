"""The SQL on the table users; its rows are frozen dataclasses."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from auth.errors import ApiError
from auth.principal import Principal
from db import Cursor, DataError, IntegrityError

MAX_SESSIONS_READ = 200  # a user may have more of an earlier version
_COLUMNS = "users.id, username, email, first_name, last_name, created_at"
# Also since when a second factor is in force, and what auth_emails knows of the user. PostgreSQL plans such
# subqueries faster than joins and EXISTS.
_ALL_COLUMNS = f"""
    {_COLUMNS},
    (SELECT enabled_at FROM auth_second_factors WHERE auth_second_factors.user_id = users.id),
    (SELECT ARRAY[verified, pending] FROM auth_emails WHERE auth_emails.user_id = users.id)
"""
# Where the user's live sessions were opened.
_SESSION_IPS = """
    ARRAY(
        SELECT ip
        FROM auth_sessions
        WHERE auth_sessions.user_id = users.id AND valid_until > %(now)s
        LIMIT %(max_sessions)s
    )
"""


@dataclass(frozen=True)
class User:
    """A row of users without its password hash, and what other tables know of the user.

    created_at: UTC, naive from a plain TIMESTAMP column. two_factor: whether a second factor is in force.
    pending_email: replaces the email once it is verified.
    """

    id: int
    username: str
    email: str
    first_name: str | None
    last_name: str | None
    created_at: datetime | None
    two_factor: bool = False
    email_verified: bool = False
    pending_email: str | None = None


@dataclass(frozen=True)
class Credential:
    """A user and the hash that a password is verified against.

    session_ips: where the user's live sessions were opened; find_credential does not read them.
    """

    user: User
    password_hash: str = field(repr=False)
    session_ips: tuple[str, ...] = ()


def create(cur: Cursor, columns: dict[str, str | None], *, password_hash: str) -> User:
    """Insert a user. The unique indexes decide who was first: raises UniqueViolation.

    columns: username, email, first_name and last_name.
    """
    cur.execute(
        f"""
        INSERT INTO users (username, email, password, first_name, last_name)
        VALUES (%(username)s, %(email)s, %(password_hash)s, %(first_name)s, %(last_name)s)
        RETURNING {_COLUMNS}
        """,
        {**columns, "password_hash": password_hash},
    )
    row = cur.fetchone()
    assert row is not None  # the statement returns a row or raises
    return User(*row)


def find(cur: Cursor, principal: Principal) -> User | None:
    """Return the principal's user. Returns None if the user is gone or the session has ended."""
    principal.select(cur, _ALL_COLUMNS)
    row = cur.fetchone()
    return _user(row) if row else None


def find_credential(cur: Cursor, principal: Principal) -> Credential | None:
    """Return the principal's user and password hash. Returns None as `find` does."""
    principal.select(cur, f"password, {_ALL_COLUMNS}")
    row = cur.fetchone()
    return Credential(_user(row[1:]), row[0]) if row else None


def find_by_login(cur: Cursor, identifier: str, *, now: datetime) -> Credential | None:
    """Return the user who has this email or username, without regard to case. Returns None if there is none.

    identifier: as it was typed. Earlier versions stored blanks around a name, so an exact match wins over a
    match of the stripped text. They also let a username look like the email of another user: the owner of the
    address wins. now: aware.
    """
    statement = f"""
        SELECT password, {_SESSION_IPS}, {_ALL_COLUMNS}
        FROM users
        WHERE lower(email COLLATE "C") IN (lower(%(typed)s COLLATE "C"), lower(%(stripped)s COLLATE "C"))
           OR lower(username COLLATE "C") IN (lower(%(typed)s COLLATE "C"), lower(%(stripped)s COLLATE "C"))
        ORDER BY lower(email COLLATE "C") = lower(%(typed)s COLLATE "C") DESC,
                 lower(username COLLATE "C") = lower(%(typed)s COLLATE "C") DESC,
                 lower(email COLLATE "C") = lower(%(stripped)s COLLATE "C") DESC
        LIMIT 1
    """
    try:
        cur.execute(
            statement,
            {
                "typed": identifier,
                "stripped": identifier.strip(),
                "now": now,
                "max_sessions": MAX_SESSIONS_READ,
            },
        )
    except DataError:  # the encoding of the database lacks a character of the identifier
        return None
    row = cur.fetchone()
    return Credential(_user(row[2:]), row[0], tuple(row[1])) if row else None


def find_credential_by_id(cur: Cursor, user_id: int, *, now: datetime) -> Credential | None:
    """Return the user who has proved the password already. Returns None if the user is gone. now: aware."""
    cur.execute(
        f"SELECT password, {_SESSION_IPS}, {_ALL_COLUMNS} FROM users WHERE users.id = %(user_id)s",
        {"user_id": user_id, "now": now, "max_sessions": MAX_SESSIONS_READ},
    )
    row = cur.fetchone()
    return Credential(_user(row[2:]), row[0], tuple(row[1])) if row else None


def find_by_email(cur: Cursor, email: str) -> User | None:
    """Return the user who has this email, without regard to case. Returns None if there is none.

    The email of the returned user is as it is stored: the case of letters beyond ASCII counts.
    """
    same_email = 'lower(email COLLATE "C") = lower(%s COLLATE "C")'
    cur.execute(f"SELECT {_ALL_COLUMNS} FROM users WHERE {same_email}", (email,))
    row = cur.fetchone()
    return _user(row) if row else None


def find_by_id(cur: Cursor, user_id: int) -> User | None:
    """Return the user whom a mail or a link names. Returns None if the user is gone."""
    cur.execute(f"SELECT {_ALL_COLUMNS} FROM users WHERE users.id = %s", (user_id,))
    row = cur.fetchone()
    return _user(row) if row else None


def lock(cur: Cursor, user_id: int) -> None:
    """Lock the row of a user until the transaction ends, as a sign-in and a change of the password do."""
    cur.execute("SELECT FROM users WHERE id = %s FOR NO KEY UPDATE", (user_id,))


def lock_own(cur: Cursor, principal: Principal, *, password_hash: str) -> bool:
    """Lock the row of the principal's user in the same way. password_hash: the hash that was verified.

    Returns False if the user is gone, the session has ended, or that hash was replaced meanwhile.
    """
    statement = """
        SELECT FROM users
        JOIN principal USING (id)
        WHERE password = %(password_hash)s
        FOR NO KEY UPDATE OF users
    """
    principal.execute(cur, statement, password_hash=password_hash)
    return cur.fetchone() is not None


def update(
    cur: Cursor, principal: Principal, columns: dict[str, str | None], *, password_hash: str | None
) -> User | None:
    """Change columns of the principal's user. Returns None if the user is gone or the session has ended.

    columns: column to value; the names are those of this service, never of a client. password_hash: the hash
    that was verified, or None. Returns None, too, if that hash was replaced meanwhile. The unique indexes
    decide who was first: raises UniqueViolation.
    """
    principal.execute(
        cur,
        f"""
        UPDATE users
        SET {", ".join(f"{column} = %({column})s" for column in columns)}
        FROM principal
        WHERE users.id = principal.id
          AND (%(password_hash)s::TEXT IS NULL OR password = %(password_hash)s)
        RETURNING {_ALL_COLUMNS}
        """,
        password_hash=password_hash,
        **columns,
    )
    row = cur.fetchone()
    return _user(row) if row else None


def set_email(cur: Cursor, user_id: int, email: str) -> None:
    """Replace the email of a user. The unique index decides who was first: raises UniqueViolation."""
    cur.execute("UPDATE users SET email = %s WHERE id = %s", (email, user_id))


def delete(cur: Cursor, principal: Principal, *, password_hash: str) -> bool:
    """Delete the principal's user; the foreign keys delete the rest, in the order of locks of auth.sessions.

    Returns False if the user is gone, the session has ended, or the verified hash was replaced. Raises
    ApiError `account_in_use` if a row of another service refers to the user.
    """
    try:
        principal.execute(
            cur,
            """
            DELETE FROM users
            USING principal
            WHERE users.id = principal.id AND users.password = %(password_hash)s
            """,
            password_hash=password_hash,
        )
    except IntegrityError as exc:  # NotNullViolation, too: ON DELETE SET NULL on a column that is NOT NULL
        raise ApiError("account_in_use") from exc
    return cur.rowcount == 1


def replace_hash(cur: Cursor, user_id: int, *, old: str, new: str) -> bool:
    """Store a new password hash. Returns False if the old one was replaced meanwhile (compare and swap)."""
    cur.execute("UPDATE users SET password = %s WHERE id = %s AND password = %s", (new, user_id, old))
    return cur.rowcount == 1


def set_hash(cur: Cursor, user_id: int, *, email: str, new: str) -> bool:
    """Store a new password hash, whatever the old one. Lock the user's row until the transaction ends.

    Returns False if the user is gone or has another email now.
    """
    cur.execute("UPDATE users SET password = %s WHERE id = %s AND email = %s", (new, user_id, email))
    return cur.rowcount == 1


def _user(row: Sequence[Any]) -> User:
    """Return the user of a row with _ALL_COLUMNS."""
    *columns, enabled_at, addresses = row
    user, (verified, pending) = User(*columns), addresses or (None, None)
    is_verified = verified == user.email
    return replace(user, two_factor=enabled_at is not None, email_verified=is_verified, pending_email=pending)
