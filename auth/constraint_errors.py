"""What a client learns when PostgreSQL refuses a value of a user's columns.

The constraints decide. This module finds out whose fault a violation is: the client's, or the operator's.
"""

from collections.abc import Callable
from typing import TypeVar

from auth.errors import ApiError
from auth.fields import label
from db import (
    CharacterNotInRepertoire,
    CheckViolation,
    Cursor,
    DataError,
    IntegrityError,
    NotNullViolation,
    StatementRefused,
    StringDataRightTruncation,
    UniqueViolation,
    UntranslatableCharacter,
    described,
)

Values = dict[str, str | None]
T = TypeVar("T")


def store(cur: Cursor, values: Values, write: Callable[[Values], T]) -> T:
    """Return what `write` returns, which stores `values` (column to value) in a row of users.

    write: a statement, or a transaction that is rolled back when it fails. Raises ApiError for an error that
    the client can mend: a username or email that is taken, a value that is too long for an older column, that
    a CHECK or the database's encoding refuses. Raises StatementRefused, or the error of PostgreSQL, for what
    only the operator can mend.
    """
    try:
        return write(values)
    except NotNullViolation as exc:
        if values.get(exc.diag.column_name or "", "") is not None:
            raise
        # An older table may have a NOT NULL name. An absent name is "" for clients in any case.
        return store(cur, {column: value or "" for column, value in values.items()}, write)
    except UniqueViolation as exc:
        raise _taken(cur, exc, values) from exc
    except CheckViolation as exc:
        raise _refused(_unchecked(cur, exc, values), exc) from exc
    except StringDataRightTruncation as exc:
        raise _refused(_too_long(cur, values), exc, column="password") from exc
    except (CharacterNotInRepertoire, UntranslatableCharacter) as exc:
        raise _refused(_without_characters(values), exc) from exc


def _refused(fields: dict[str, str], exc: DataError | IntegrityError, **column: str) -> Exception:
    """Return an error for the client if one of its fields is the cause, else an error for the operator."""
    if fields:
        return ApiError("validation_failed", fields=fields)
    return StatementRefused(described(exc, **column))


def _taken(cur: Cursor, exc: UniqueViolation, values: Values) -> Exception:
    columns = _columns_of(cur, exc) & values.keys()
    if "email" in columns:
        return ApiError("email_taken")
    if "username" in columns:
        return ApiError("username_taken")
    # A sequence that is behind its table, or a constraint that the operator added.
    return StatementRefused(described(exc))


def _unchecked(cur: Cursor, exc: CheckViolation, values: Values) -> dict[str, str]:
    refused = _columns_of(cur, exc) & values.keys()
    return {name: f"{label(name)} is not one that this service accepts." for name in sorted(refused)}


def _columns_of(cur: Cursor, exc: IntegrityError) -> set[str]:
    """Return the columns of a violated constraint or index of users. The error does not name them."""
    cur.execute(
        """
        SELECT attname
        FROM pg_constraint
        JOIN pg_attribute ON attrelid = 'users'::regclass
                         AND (conrelid = attrelid AND attnum = ANY (conkey) OR contypid = atttypid)
        WHERE conname = %(name)s
        UNION
        SELECT attname
        FROM pg_index
        JOIN pg_class ON pg_class.oid = indexrelid AND relname = %(name)s
        JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = indexrelid AND refobjid = indrelid
        JOIN pg_attribute ON attrelid = indrelid AND attnum = refobjsubid
        WHERE indrelid = 'users'::regclass
        """,
        {"name": exc.diag.constraint_name},
    )
    return {name for (name,) in cur.fetchall()}


def _too_long(cur: Cursor, values: Values) -> dict[str, str]:
    """Return a sentence for every value that is too long. PostgreSQL's error does not name the column."""
    cur.execute(
        """
        SELECT name, modifier - 4
        FROM pg_attribute
        JOIN pg_type ON pg_type.oid = atttypid
        CROSS JOIN LATERAL (
            SELECT
                attname,
                CASE typtype WHEN 'd' THEN typbasetype ELSE atttypid END,
                CASE typtype WHEN 'd' THEN typtypmod ELSE atttypmod END
        ) AS sized (name, type, modifier)
        WHERE attrelid = 'users'::regclass
          AND type IN ('varchar'::regtype, 'bpchar'::regtype)
          AND modifier >= 0
        """
    )
    return {
        name: f"{label(name)} must be at most {width} characters long."
        for name, width in cur.fetchall()
        if len(values.get(name) or "") > width
    }


def _without_characters(values: Values) -> dict[str, str]:
    sentence = "Names hold a character that this service cannot store."
    names = ("first_name", "last_name")
    return {name: sentence for name in names if not (values.get(name) or "").isascii()}
