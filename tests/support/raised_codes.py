"""Which error codes a view can raise, read out of the source: whatever it refers to, directly or not.

A function refers to another by its name, or, for a method of an unknown object, by the method's name. It
raises the codes that stand in it as strings; what an `except` around it catches is taken off.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from inspect import unwrap
from typing import Any

from auth.errors import REGISTRY
from tests.support import ROOT

# They call views, and not the reverse.
WORKER = {"worker.py", "answering.py", "client_connection.py", "request_buffer.py", "wsgi.py"}
FOLDERS = ("auth", "ops", "runtime")
SOURCES = [ROOT / "app.py", ROOT / "config.py", ROOT / "db.py"]
SOURCES += [path for name in FOLDERS for path in (ROOT / name).rglob("*.py") if path.name not in WORKER]
# What errors.py makes of the database's exceptions; all of them are DatabaseUnavailable.
EXCEPTIONS = {
    "DatabaseUnavailable": "database_unavailable",
    "ServerFault": "database_unavailable",
    "ConnectionLost": "database_unavailable",
    "ReadOnly": "database_unavailable",
    "OutOfResources": "database_unavailable",
    "Conflict": "database_unavailable",
    "PoolExhausted": "busy",
    "PoolFull": "busy",
    "StatementRefused": "internal_error",
}
CAUGHT_BY = {"DatabaseUnavailable": set(EXCEPTIONS.values()), "ApiError": set(REGISTRY)}

Name = tuple[str, str]  # module and function, or "" and method


def of_view(view: Callable[..., Any]) -> set[str]:
    """Return the codes that `view` and its guards can raise."""
    function = unwrap(view)
    return _codes(_functions()[function.__module__, function.__name__], frozenset())


def refers_to(view: Callable[..., Any], name: Name) -> bool:
    """Return whether `view` or its guards come to a function."""
    function = unwrap(view)
    return name in _reached((function.__module__, function.__name__))


@cache
def _functions() -> dict[Name, list["Function"]]:
    """Return every function by module and name, and every method by its name."""
    found: dict[Name, list[Function]] = {}
    for path in SOURCES:
        relative = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        module = relative.removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        methods = {
            item for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for item in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                name = ("" if node in methods else module, node.name)
                found.setdefault(name, []).append(Function(node, _imported(tree), module))
    return found


class Function:
    """A function's syntax tree, and what the names in it mean."""

    def __init__(self, tree: ast.AST, imported: dict[str, str], module: str) -> None:
        self.tree = tree
        self._imported = imported
        self._module = module

    def refers_to(self, node: ast.AST) -> Name | None:
        """Return what `node` refers to, if it is a name or an attribute."""
        if isinstance(node, ast.Name):
            module, _, name = self._imported.get(node.id, f"{self._module}.{node.id}").rpartition(".")
            return module, name
        if not isinstance(node, ast.Attribute):
            return None
        of_module = isinstance(node.value, ast.Name) and self._imported.get(node.value.id)
        return (of_module, node.attr) if of_module else ("", node.attr)


def _imported(tree: ast.AST) -> dict[str, str]:
    """Return the names that a module imports, each with what it is the name of."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _codes(functions: list[Function], seen: frozenset[Name]) -> set[str]:
    return {code for function in functions for code in _codes_in(function.tree, function, seen)}


def _codes_in(node: ast.AST, function: Function, seen: frozenset[Name]) -> Iterator[str]:
    if isinstance(node, ast.Constant) and node.value in REGISTRY:
        yield node.value
    name = function.refers_to(node)
    if name and name[1] in EXCEPTIONS:
        yield EXCEPTIONS[name[1]]
    elif name and name not in seen:
        yield from _codes(_functions().get(name, []), seen | {name})
    if isinstance(node, ast.Try):
        caught = set[str]().union(*(_caught(handler) for handler in node.handlers))
        yield from {code for part in node.body for code in _codes_in(part, function, seen)} - caught
    for part in _children(node):
        yield from _codes_in(part, function, seen)


def _children(node: ast.AST) -> list[ast.AST]:
    """Return what is in `node`, but not what an `except` names or is tried: that is not raised as it is."""
    if isinstance(node, ast.Try):
        return [*node.handlers, *node.orelse, *node.finalbody]
    return list(node.body) if isinstance(node, ast.ExceptHandler) else list(ast.iter_child_nodes(node))


def _caught(handler: ast.ExceptHandler) -> set[str]:
    """Return the codes that a handler keeps to itself."""
    raises_again = any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))
    name = handler.type.id if isinstance(handler.type, ast.Name) else ""
    return set() if raises_again else CAUGHT_BY.get(name, set())


def _reached(start: Name) -> set[Name]:
    reached, pending = {start}, [start]
    while pending:
        for function in _functions().get(pending.pop(), []):
            names = {function.refers_to(node) for node in ast.walk(function.tree)} - {None}
            pending += (new := {name for name in names if name is not None} - reached)
            reached |= new
    return reached
