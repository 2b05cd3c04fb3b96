"""Storing what a client sent in a user's columns, and whose fault it is when PostgreSQL refuses that."""

from collections.abc import Mapping
from typing import Any

from psycopg2 import Error, IntegrityError
from psycopg2.errors import (
    CharacterNotInRepertoire,
    CheckViolation,
    NotNullViolation,
    StringDataRightTruncation,
    UniqueViolation,
    UntranslatableCharacter,
)
from psycopg2.extensions import cursor

from auth.errors import ApiError
from auth.fields import label
from runtime.faults import StatementRefused, described


def store(
    cur: cursor, statement: str, values: Mapping[str, str | None], parameters: Mapping[str, Any]
) -> None:
    """Run a statement that stores `values` in a user's columns; the constraints decide.

    parameters: those of the statement that are no client's. Raises ApiError for what the client can mend: a
    username or email that is taken, a value that an older column has no room for, that a CHECK or the
    database's encoding refuses. What only the operator can mend reaches the caller as PostgreSQL says it.
    """
    try:
        cur.execute(statement, {**parameters, **values})
    except NotNullViolation as exc:
        if values.get(exc.diag.column_name or "", "") is not None:
            raise
        # An older table may want a name: an absent one is "" for a client in any case.
        store(cur, statement, {name: value or "" for name, value in values.items()}, parameters)
    except UniqueViolation as exc:
        raise _taken(cur, exc, values) from exc
    except CheckViolation as exc:
        raise _refused(_unchecked(cur, exc, values), exc) from exc
    except StringDataRightTruncation as exc:
        raise _refused(_too_long(cur, values), exc, column="password") from exc
    except (CharacterNotInRepertoire, UntranslatableCharacter) as exc:
        raise _refused(_without_characters(values), exc) from exc


def _refused(fields: dict[str, str], exc: Error, **column: str) -> Exception:
    """Return an error for the client if a field of theirs is the cause, else one for the operator."""
    return (
        ApiError("validation_failed", fields=fields) if fields else StatementRefused(described(exc, **column))
    )


def _taken(cur: cursor, exc: UniqueViolation, values: Mapping[str, str | None]) -> Exception:
    columns = _columns_of(cur, exc) & values.keys()
    if "email" in columns:
        return ApiError("email_taken")
    if "username" in columns:
        return ApiError("username_taken")
    return StatementRefused(
        described(exc)
    )  # a sequence that is behind its table, or somebody else's constraint


def _unchecked(cur: cursor, exc: CheckViolation, values: Mapping[str, str | None]) -> dict[str, str]:
    refused = _columns_of(cur, exc) & values.keys()
    return {name: f"{label(name)} is not one that this service accepts." for name in sorted(refused)}


def _columns_of(cur: cursor, exc: IntegrityError) -> set[str]:
    """Return the columns that a violated constraint or index of users is about: PostgreSQL names none."""
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


def _too_long(cur: cursor, values: Mapping[str, str | None]) -> dict[str, str]:
    """Return a sentence for every value that its column has no room for: PostgreSQL does not name columns."""
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
        ) AS found (name, type, modifier)
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


def _without_characters(values: Mapping[str, str | None]) -> dict[str, str]:
    sentence = "Names hold a character that this service cannot store."
    names = ("first_name", "last_name")
    return {name: sentence for name in names if not (values.get(name) or "").isascii()}
