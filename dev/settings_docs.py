"""Writes the documentation of the variables from the declarations: `make settings`.

The tests compare both files with the declarations.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from textwrap import wrap
from typing import Any

from config import Settings
from runtime.declarations import Computed, Declaration, declarations
from runtime.settings import WholeNumber

ROOT = Path(__file__).parents[1]
TABLE_FILE = ROOT / "docs" / "operating.md"
EXAMPLE_FILE = ROOT / ".env.example"
BEGIN, END = "<!-- settings -->", "<!-- /settings -->"
MAX_COLUMNS = 118
GLUE = "\0"  # stands for a blank at which no line may break
# Lines of .env.example without a comment sign: in development gunicorn then needs a DB_URL only. The service
# warns of the sample key at every start.
ACTIVE_EXAMPLES = ("SECRET_KEY",)
EXAMPLE_HEADER = """\
# Made by `make settings` from config.py; docs/operating.md has the same as a table.
# Copy this file to .env; `make run`, gunicorn, flask and docker-compose read it. The environment goes first,
# in docker-compose only SECRET_KEY and PORT of the shell.
# An empty value counts as unset. ${...} stays as it is, but docker-compose and the flask command expand it.
"""


def main() -> None:
    known = declarations(Settings)
    table = with_table(TABLE_FILE.read_text(encoding="utf-8"), known)
    TABLE_FILE.write_text(table, encoding="utf-8")
    EXAMPLE_FILE.write_text(env_example(known), encoding="utf-8")


def with_table(document: str, known: Iterable[Declaration]) -> str:
    """Return the document with the tables of all settings between its two markers."""
    before, _, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{BEGIN} or {END} is missing")
    return f"{before}{BEGIN}\n{markdown_tables(known)}{END}{after}"


def markdown_tables(known: Iterable[Declaration]) -> str:
    """Return a Markdown table for each group."""
    tables = []
    for title, group in _groups(known):
        rows = [f"### {title}", "", "| variable | default | meaning |", "|---|---|---|"]
        rows += [f"| `{item.variable}` | {_default_cell(item)} | {meaning(item)} |" for item in group]
        tables.append("\n".join([*rows, ""]))
    return "\n".join(tables)


def env_example(known: Iterable[Declaration]) -> str:
    """Return a `.env` in which every setting is commented out, below a comment that explains the setting."""
    sections = [EXAMPLE_HEADER]
    for title, group in _groups(known):
        sections.append(f"## {title}\n")
        sections += [f"{_comment(item)}{_assignment(item)}\n" for item in group]
    return "\n".join(sections)


def meaning(declaration: Declaration) -> str:
    """Return what the setting is for, and its range if it is a number."""
    kind = declaration.kind
    return declaration.help + (f" From {kind.low} to {kind.high}." if isinstance(kind, WholeNumber) else "")


def literal_default(declaration: Declaration) -> str:
    """Return the default as an operator writes it. Returns "" if there is none, or if it is computed."""
    default = declaration.default
    return "" if default in (MISSING, None) or isinstance(default, Computed) else _as_text(default)


def _groups(known: Iterable[Declaration]) -> Iterator[tuple[str, list[Declaration]]]:
    for title, group in groupby(known, key=attrgetter("group")):
        yield title, list(group)


def _default_cell(declaration: Declaration) -> str:
    if isinstance(declaration.default, Computed):
        return declaration.default.words
    text = literal_default(declaration)
    return f"`{text}`" if text else ""


def _comment(declaration: Declaration) -> str:
    default = declaration.default
    words = f" Unset: {default.words}." if isinstance(default, Computed) else ""
    # A command between backticks stays on one line, so that it can be copied.
    text = re.sub("`[^`]+`", lambda code: code[0].replace(" ", GLUE), meaning(declaration) + words)
    lines = wrap(text, MAX_COLUMNS - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines).replace(GLUE, " ")


def _assignment(declaration: Declaration) -> str:
    value = declaration.example or literal_default(declaration)
    sign = "" if declaration.variable in ACTIVE_EXAMPLES else "#"
    return f"{sign}{declaration.variable}={value}"


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(value) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    main()
