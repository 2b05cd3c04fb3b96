"""The Markdown documents as the tests read them: their code blocks and tables."""

import re

from tests.support import ROOT

README, ARCHITECTURE, OPERATING, CLIENTS, CONTRIBUTING = (
    (ROOT / name).read_text()
    for name in (
        "README.md",
        "docs/architecture.md",
        "docs/operating.md",
        "docs/clients.md",
        "CONTRIBUTING.md",
    )
)


def blocks(document: str, language: str, *, containing: str) -> list[str]:
    """Return the code blocks in `language` that contain a text."""
    contents = re.findall(rf"^```{language}\n(.+?)^```", document, re.MULTILINE | re.DOTALL)
    return [block for block in contents if containing in block]


def rows(document: str, *columns: str) -> list[list[str]]:
    """Return the rows of the one table with these column heads."""
    head = re.escape(f"| {' | '.join(columns)} |\n|") + r"[-|]+\n((?:\|.+\n)+)"
    (table,) = re.findall(head, document)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
