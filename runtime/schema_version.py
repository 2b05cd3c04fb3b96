"""What a version of schema.sql describes, and what a database has of it.

Everything is read from the file: this module knows no table but the one that records the version.
"""

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from psycopg2.extensions import cursor

from runtime.schema_columns import Column, difference

VERSION_TABLE = "auth_schema"  # read at start only, never by a request
_TABLE = re.compile(
    r"^CREATE (?:UNLOGGED )?TABLE IF NOT EXISTS (\w+) \(\n(.*?)^\)(?: WITH \(.*?\))?;",
    re.MULTILINE | re.DOTALL,
)
_COLUMN = re.compile(r"^    ([a-z]\w*) ([A-Z]+(?:\(\d+\))?)(.*)", re.MULTILINE)
_INDEX = re.compile(r"^CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (\w+) .*;$", re.MULTILINE)
_COMMENT = re.compile("--.*")
_CASELESS = re.compile(r'CREATE UNIQUE INDEX .* ON (\w+) \(lower\((\w+) COLLATE "C"\)\);')


class Version:
    """A version of schema.sql.

    tables: the statements that run in one transaction. indexes: the statements that run outside of one.
    columns: those of every table, the first table first. caseless: the (table, column) pairs that are unique
    without regard to case.
    """

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        # A changed comment makes no new version: applying a version takes the locks of DDL.
        statements = " ".join(_COMMENT.sub("", text).split())
        self.fingerprint = hashlib.sha256(statements.encode()).hexdigest()
        self.indexes = {match[1]: match[0] for match in _INDEX.finditer(text)}
        self.tables = _INDEX.sub("", text)
        self.columns = {table: list(_columns(body)) for table, body in _TABLE.findall(text)}
        self.caseless = [
            (match[1], match[2]) for index in self.indexes.values() if (match := _CASELESS.match(index))
        ]
        self.first_table = next(iter(self.columns))
        self._rights = self._rights_query()

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
        """Return the columns that the existing tables of the database lack, as `table.column`."""
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
        """Return whether this version was applied last. The table that records the version must exist."""
        cur.execute("SELECT EXISTS (SELECT FROM auth_schema WHERE fingerprint = %s)", (self.fingerprint,))
        row = cur.fetchone()
        return row is not None and bool(row[0])

    def record(self, cur: cursor) -> None:
        """Note that this version was applied last."""
        cur.execute("DELETE FROM auth_schema")
        cur.execute("INSERT INTO auth_schema VALUES (%s)", (self.fingerprint,))

    def is_applied(self, cur: cursor) -> bool:
        """Return whether this version was applied last and is still complete."""
        return not self.missing(cur) and self.is_recorded(cur)

    def differences(self, cur: cursor) -> list[str]:
        """Return how the first table differs from its description. Wider texts are no difference."""
        cur.execute(
            """
            SELECT attname, format_type(atttypid, atttypmod), attnotnull,
                   atthasdef OR attidentity <> '' OR EXISTS (
                       SELECT FROM pg_type WHERE pg_type.oid = atttypid AND typdefault IS NOT NULL
                   )
            FROM pg_attribute
            WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
            ORDER BY attnum
            """,
            (self.first_table,),
        )
        described = {column.name: column for column in self.columns[self.first_table]}
        differences = [difference(described.get(row[0]), *row) for row in cur.fetchall()]
        cur.execute(
            "SELECT 'has the CHECK ' || conname FROM pg_constraint"
            " WHERE conrelid = %s::regclass AND contype = 'c' ORDER BY conname",
            (self.first_table,),
        )
        return [text for text in differences if text] + [check for (check,) in cur.fetchall()]

    def missing_rights(self, cur: cursor) -> list[str]:
        """Return the rights that the role lacks.

        Fails if the role may not read a table, or if a table or a column is gone. Waits while somebody has
        locked a table.
        """
        reads = (f"SELECT {', '.join(self._names(table))} FROM {table} LIMIT 0" for table in self._used())
        cur.execute(f"{'; '.join(reads)}; {self._rights}")  # one round trip
        return [right for (right,) in cur.fetchall()]

    def case_clashes(self, cur: cursor) -> list[str]:
        """Return the ids of rows whose caseless columns differ only in case: PostgreSQL names none."""
        if not self.caseless:
            return []
        rows = [
            f"""
            SELECT 'the {column}s of {table} ' || string_agg(id::text, ', ' ORDER BY id)
            FROM {table}
            GROUP BY lower({column} COLLATE "C")
            HAVING count(*) > 1
            """
            for table, column in self.caseless
        ]
        cur.execute(f"{' UNION ALL '.join(rows)} LIMIT 20")
        return [clash for (clash,) in cur.fetchall()]

    def names_a_table(self, message: str) -> bool:
        """Return whether PostgreSQL's `message`, in any language, names one of the tables."""
        return any(re.search(rf"\b{table}\b", message) for table in self.columns)

    def _names(self, table: str) -> list[str]:
        return [f"{table}.{column.name}" for column in self.columns[table]]

    def _used(self) -> list[str]:
        """Return the tables that requests use."""
        return [table for table in self.columns if table != VERSION_TABLE]

    def _rights_query(self) -> str:
        """Return the statement that finds missing rights to change the tables, beside the right to read."""
        changes = [f"('{table}', '{right}')" for table in self._used() for right in ("INSERT", "UPDATE")]
        sequences = [
            f"(pg_get_serial_sequence('{table}', '{column.name}'))"
            for table in self._used()
            for column in self.columns[table]
            if column.is_serial()
        ]
        return f"""
            SELECT name || ': ' || need
            FROM (VALUES {", ".join(changes)}) AS needed (name, need)
            WHERE NOT has_any_column_privilege(name, need)
            UNION ALL
            SELECT name || ': DELETE'
            FROM (VALUES {", ".join(f"('{table}')" for table in self._used())}) AS used (name)
            WHERE NOT has_table_privilege(name, 'DELETE')
            UNION ALL
            SELECT sequence || ': USAGE'
            FROM (VALUES {", ".join(sequences)}) AS used (sequence)
            WHERE NOT has_sequence_privilege(sequence, 'USAGE')
        """


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
