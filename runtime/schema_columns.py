"""A column as schema.sql writes it, compared with a column of the database."""

import re
from dataclasses import dataclass

# PostgreSQL shows these types by another name.
_NAMES = {"SERIAL": "integer", "TIMESTAMP": "timestamp without time zone"}


@dataclass(frozen=True)
class Column:
    """A column as schema.sql writes it. type: in upper case, such as VARCHAR(50)."""

    name: str
    type: str
    nullable: bool

    def is_serial(self) -> bool:
        """Return whether a sequence numbers the column."""
        return self.type in ("SERIAL", "BIGSERIAL")


def difference(described: Column | None, name: str, kind: str, not_null: bool, has_default: bool) -> str:
    """Return how a column of the database differs from its description in a way that matters, else "".

    described: None if schema.sql has no such column. kind: the type as PostgreSQL shows it.
    """
    if described is None:
        return f"{name} is NOT NULL without a default" if not_null and not has_default else ""
    if not _holds(kind, described.type):
        return f"{name} is {kind} instead of {described.type}"
    return f"{name} is NOT NULL" if not_null and described.nullable else ""


def _holds(kind: str, described: str) -> bool:
    """Return whether a column of the type `kind` accepts every value that the described type accepts."""
    described_width = re.fullmatch(r"VARCHAR\((\d+)\)", described)
    if not described_width and described != "TEXT":
        return kind == _NAMES.get(described, described.lower())
    if kind in ("text", "character varying"):
        return True
    width = re.fullmatch(r"character varying\((\d+)\)", kind)
    return bool(width and described_width and int(width[1]) >= int(described_width[1]))
