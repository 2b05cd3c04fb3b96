"""docs/architecture.md: its picture of the house has a line for every module."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support import ROOT
from tests.support.documents import ARCHITECTURE

HIDDEN = re.compile(r"^[._]")  # .git, .venv, __pycache__


def paths_of(picture: str) -> Iterator[Path]:
    """Yield the path that each line of a picture names; two blanks before it are one folder deeper."""
    folders: list[str] = []
    for line in picture.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        yield Path(*folders[:depth], name)
        folders[depth:] = [name]


def has_code(module: Path) -> bool:
    """Return whether a module has more than its docstring."""
    body = ast.parse(module.read_text()).body
    return len(body) > (ast.get_docstring(ast.Module(body, [])) is not None)


def modules_of(folder: Path) -> set[Path]:
    """Return the modules and the subfolders of a folder that a picture must name."""
    modules = {path for path in folder.glob("*.py") if path.name != "__init__.py" or has_code(path)}
    return modules | {path for path in folder.iterdir() if path.is_dir() and not HIDDEN.match(path.name)}


def test_picture_has_one_line_for_every_module() -> None:
    (picture,) = re.findall(r"^## The house\n.+?^```\n(.+?)^```", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    described = list(paths_of(picture))
    # A folder whose content is not shown has one line for all of it.
    shown = {path.parent for path in described}
    expected = {path.relative_to(ROOT) for folder in shown for path in modules_of(ROOT / folder)}

    assert len(described) == len(set(described))
    assert [str(path) for path in described if not (ROOT / path).exists()] == []
    assert sorted(map(str, expected - set(described))) == []
