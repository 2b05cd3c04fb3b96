"""What schema.sql describes, and what a database has of it."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from psycopg2.extensions import cursor

VERSION_TABLE = "auth_schema"  # only a start reads it
_USED = ("users", "auth_sessions")
_TABLE = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+) \(\n(.*?)^\);", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r"^    ([a-z]\w*) ([A-Z]+(?:\(\d+\))?)(.*)", re.MULTILINE)
_INDEX = re.compile(r"^CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (\w+) .*;$", re.MULTILINE)
_NAMES = {"SERIAL": "integer", "TIMESTAMP": "timestamp without time zone"}  # where PostgreSQL has another
# For what the service does with its tables; the right to read them is needed, too.
_RIGHTS = """
    SELECT name || ': ' || need
    FROM (VALUES
        ('users', 'INSERT'), ('users', 'UPDATE'), ('auth_sessions', 'INSERT'), ('auth_sessions', 'UPDATE')
    ) AS needed (name, need)
    WHERE NOT has_any_column_privilege(name, need)
    UNION ALL
    SELECT name || ': DELETE'
    FROM (VALUES ('users'), ('auth_sessions')) AS used (name)
    WHERE NOT has_table_privilege(name, 'DELETE')
    UNION ALL
    SELECT sequence || ': USAGE'
    FROM (VALUES (pg_get_serial_sequence('users', 'id')), (pg_get_serial_sequence('auth_sessions', 'id')))
        AS used (sequence)
    WHERE NOT has_sequence_privilege(sequence, 'USAGE')
"""


@dataclass(frozen=True)
class Column:
    """A column as schema.sql writes it."""

    name: str
    type: str
    nullable: bool


class Version:
    """A version of schema.sql.

    tables: the statements that one transaction runs. indexes: those that run outside of one.
    """

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()
        self.indexes = {match[1]: match[0] for match in _INDEX.finditer(text)}
        self.tables = _INDEX.sub("", text)
        self.columns = {table: list(_columns(body)) for table, body in _TABLE.findall(text)}

    def missing(self, cur: cursor) -> set[str]:
        """Return the tables, columns (`table.column`) and valid indexes that the database lacks."""
        cur.execute(
            """
            SELECT name
            FROM unnest(%(indexes)s) AS name
            WHERE NOT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(name) AND indisvalid)
            UNION ALL
            SELECT name
            FROM unnest(%(tables)s) AS name
            WHERE to_regclass(name) IS NULL
            """,
            {"indexes": list(self.indexes), "tables": list(self.columns)},
        )
        return {name for (name,) in cur.fetchall()} | self.missing_columns(cur)

    def missing_columns(self, cur: cursor) -> set[str]:
        """Return the columns that the tables of the database lack, as `table.column`."""
        cur.execute(
            """
            SELECT name
            FROM unnest(%s) AS name
            WHERE to_regclass(split_part(name, '.', 1)) IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_attribute
                WHERE attrelid = to_regclass(split_part(name, '.', 1))
                  AND attname = split_part(name, '.', 2)
                  AND NOT attisdropped
            )
            """,
            ([name for table in self.columns for name in self._names(table)],),
        )
        return {name for (name,) in cur.fetchall()}

    def is_recorded(self, cur: cursor) -> bool:
        """Return whether this version is the one that was applied last; its table must be there."""
        cur.execute("SELECT EXISTS (SELECT FROM auth_schema WHERE fingerprint = %s)", (self.fingerprint,))
        row = cur.fetchone()
        return row is not None and bool(row[0])

    def is_applied(self, cur: cursor) -> bool:
        """Return whether this version was applied, and nothing of it removed since."""
        return not self.missing(cur) and self.is_recorded(cur)

    def differences(self, cur: cursor) -> list[str]:
        """Return how `users` differs from that of schema.sql, but for wider texts."""
        cur.execute(
            """
            SELECT attname, format_type(atttypid, atttypmod), attnotnull,
                   atthasdef OR attidentity <> '' OR EXISTS (
                       SELECT FROM pg_type WHERE pg_type.oid = atttypid AND typdefault IS NOT NULL
                   )
            FROM pg_attribute
            WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped
            ORDER BY attnum
            """
        )
        described = {column.name: column for column in self.columns["users"]}
        found = [_difference(described.get(row[0]), *row) for row in cur.fetchall()]
        cur.execute(
            "SELECT 'has the CHECK ' || conname FROM pg_constraint"
            " WHERE conrelid = 'users'::regclass AND contype = 'c' ORDER BY conname"
        )
        return [difference for difference in found if difference] + [check for (check,) in cur.fetchall()]

    def missing_rights(self, cur: cursor) -> list[str]:
        """Return the rights that the role lacks.

        Fails if it may not read a table, or if that or a column is gone; waits while somebody has locked it.
        """
        touched = (f"SELECT {', '.join(self._names(table))} FROM {table} LIMIT 0" for table in _USED)
        cur.execute(f"{'; '.join(touched)}; {_RIGHTS}")  # one round trip
        return [missing for (missing,) in cur.fetchall()]

    def _names(self, table: str) -> list[str]:
        return [f"{table}.{column.name}" for column in self.columns[table]]

    def names_a_table(self, message: str) -> bool:
        """Return whether PostgreSQL's `message`, in any language, names one of the tables."""
        return any(re.search(rf"\b{table}\b", message) for table in self.columns)


def are_dispensable(missing: set[str]) -> bool:
    """Return whether the service works without what is missing: only the record of the version may be."""
    return all(name.partition(".")[0] == VERSION_TABLE for name in missing)


@lru_cache
def read(path: Path) -> Version:
    """Return the version of the file at `path`."""
    return Version(path)


def _columns(body: str) -> Iterator[Column]:
    for name, kind, rest in _COLUMN.findall(body):
        yield Column(name, kind, "NOT NULL" not in rest and "PRIMARY KEY" not in rest)


def _difference(described: Column | None, name: str, kind: str, not_null: bool, has_default: bool) -> str:
    if described is None:
        return f"{name} is NOT NULL without a default" if not_null and not has_default else ""
    if not _holds(kind, described.type):
        return f"{name} is {kind} instead of {described.type}"
    return f"{name} is NOT NULL" if not_null and described.nullable else ""


def _holds(kind: str, described: str) -> bool:
    """Return whether a column of the type `kind` takes what the described one takes."""
    width = re.fullmatch(r"VARCHAR\((\d+)\)", described)
    if not width and described != "TEXT":
        return kind == _NAMES.get(described, described.lower())
    if kind in ("text", "character varying"):
        return True
    found = re.fullmatch(r"character varying\((\d+)\)", kind)
    return bool(found and width and int(found[1]) >= int(width[1]))
