"""The users table: its rows as frozen dataclasses, and every statement on it."""

from dataclasses import dataclass, field
from datetime import datetime

from psycopg2 import DataError, IntegrityError
from psycopg2.extensions import cursor

from auth.constraint_errors import store
from auth.errors import ApiError
from auth.principal import IS_PRINCIPAL, PRINCIPAL, Principal

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


def find_principal(cur: cursor, caller: Principal) -> User | None:
    """Return the user who calls, None when they are gone or their session is over."""
    cur.execute(
        # A join with PRINCIPAL takes 100 microseconds more, mostly to plan, and most requests run this.
        f"""
        SELECT {_COLUMNS}
        FROM users
        WHERE {IS_PRINCIPAL}
        """,
        caller.parameters(),
    )
    row = cur.fetchone()
    return User(*row) if row else None


def find_credential(cur: cursor, caller: Principal) -> Credential | None:
    """Return the user who calls with the hash of their password, as find_principal does."""
    cur.execute(
        f"""
        SELECT password, {_COLUMNS}
        FROM users
        WHERE {IS_PRINCIPAL}
        """,
        caller.parameters(),
    )
    return _credential(cur)


def find_by_login(cur: cursor, login: str) -> Credential | None:
    """Return the user whose email or username this is, without regard to case; None when there is none.

    login: as it was typed. An older version stored blanks at an end: who is spelled exactly so goes first.
    It also let a username look like somebody else's email: the owner of the address goes first.
    """
    statement = f"""
        SELECT password, {_COLUMNS}
        FROM users
        WHERE lower(email COLLATE "C") IN (lower(%(typed)s COLLATE "C"), lower(%(stripped)s COLLATE "C"))
           OR lower(username COLLATE "C") IN (lower(%(typed)s COLLATE "C"), lower(%(stripped)s COLLATE "C"))
        ORDER BY lower(email COLLATE "C") = lower(%(typed)s COLLATE "C") DESC,
                 lower(username COLLATE "C") = lower(%(typed)s COLLATE "C") DESC,
                 lower(email COLLATE "C") = lower(%(stripped)s COLLATE "C") DESC
        LIMIT 1
    """
    try:
        cur.execute(statement, {"typed": login, "stripped": login.strip()})
    except DataError:  # a character that the database's encoding does not have
        return None
    return _credential(cur)


def update(
    cur: cursor, caller: Principal, changes: dict[str, str | None], *, password_hash: str | None
) -> User | None:
    """Change some columns of the user who calls; None when they are gone or their session is over.

    changes: column to value; the columns are our own names. password_hash: what was verified, if it was;
    None also when it has been replaced since. Raises as `storing.store` does.
    """
    store(
        cur,
        f"""
        WITH {PRINCIPAL}
        UPDATE users
        SET {", ".join(f"{column} = %({column})s" for column in changes)}
        FROM caller
        WHERE users.id = caller.id
          AND (%(password_hash)s::TEXT IS NULL OR users.password = %(password_hash)s)
        RETURNING {", ".join(f"users.{column}" for column in _COLUMNS.split(", "))}
        """,
        changes,
        caller.parameters() | {"password_hash": password_hash},
    )
    row = cur.fetchone()
    return User(*row) if row else None


def delete(cur: cursor, caller: Principal, *, password_hash: str) -> bool:
    """Delete the user who calls and all that is theirs; the locks are in the order of auth.sessions.

    False when they or their session are gone, or the hash that was verified has been replaced since.
    Raises ApiError `account_in_use` when a row of another service refers to the user.
    """
    try:
        cur.execute(
            f"""
            WITH {PRINCIPAL}
            DELETE FROM users
            USING caller
            WHERE users.id = caller.id AND users.password = %(password_hash)s
            """,
            caller.parameters() | {"password_hash": password_hash},
        )
    except IntegrityError as exc:  # also of a column that ON DELETE SET NULL cannot make null
        raise ApiError("account_in_use") from exc
    return cur.rowcount == 1


def replace_hash(cur: cursor, user_id: int, *, old: str, new: str) -> bool:
    """Store another hash, unless the old one has been replaced meanwhile; return whether it was stored."""
    cur.execute(
        """
        UPDATE users
        SET password = %s
        WHERE id = %s AND password = %s
        """,
        (new, user_id, old),
    )
    return cur.rowcount == 1


def _credential(cur: cursor) -> Credential | None:
    row = cur.fetchone()
    return Credential(User(*row[1:]), row[0]) if row else None
