"""Which error codes a view can raise, read from the source of all functions that the view reaches.

A function reaches another by its name. A method's object is unknown, so its name alone counts.
A function raises the codes that stand in it as strings, minus those that an `except` around them catches.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from inspect import unwrap
from pathlib import Path
from typing import Any

from auth.errors import REGISTRY
from tests.support import ROOT

# The worker calls views, and the sender of mails has a thread of its own; no view calls them.
WORKER = {"worker.py", "answering.py", "client_connection.py", "request_buffer.py", "wsgi.py"}
SENDER = {
    ROOT / "auth/mail" / name
    for name in ("sender.py", "delivery.py", "smtp.py", "connection.py", "messages.py")
}
FOLDERS = ("auth", "ops", "runtime")
SOURCES = [ROOT / "app.py", ROOT / "config.py", ROOT / "db.py"]
SOURCES += [
    path
    for name in FOLDERS
    for path in (ROOT / name).rglob("*.py")
    if path.name not in WORKER and path not in SENDER
]
# The code that an exception of the lower layers becomes. All of the database are DatabaseUnavailable.
EXCEPTIONS = {
    "DatabaseUnavailable": "database_unavailable",
    "ServerFault": "database_unavailable",
    "ConnectionLost": "database_unavailable",
    "ReadOnly": "database_unavailable",
    "OutOfResources": "database_unavailable",
    "Conflict": "database_unavailable",
    "PoolExhausted": "busy",
    "PoolFull": "busy",
    "Busy": "busy",
    "StatementRefused": "internal_error",
}
CAUGHT_BY = {"DatabaseUnavailable": set(EXCEPTIONS.values()), "ApiError": set(REGISTRY)}

Name = tuple[str, str]  # module and function, or "" and method


def of_view(view: Callable[..., Any]) -> set[str]:
    """Return the codes that `view` and its decorators can raise."""
    function = unwrap(view)
    return _codes_by_name()[function.__module__, function.__name__]


def refers_to(view: Callable[..., Any], name: Name) -> bool:
    """Return whether `view` or its decorators reach the function `name`."""
    function = unwrap(view)
    return name in _reached((function.__module__, function.__name__))


@cache
def _functions() -> dict[Name, list["Function"]]:
    """Return every function by module and name, and every method by its name."""
    functions: dict[Name, list[Function]] = {}
    for path in SOURCES:
        module = _module_name(path)
        tree = ast.parse(path.read_text())
        methods = {
            item for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for item in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                name = ("" if node in methods else module, node.name)
                functions.setdefault(name, []).append(Function(node, _imported(tree), module))
    return functions


class Function:
    """A function's syntax tree, and what the names in it mean."""

    def __init__(self, tree: ast.AST, imported: dict[str, str], module: str) -> None:
        self.tree = tree
        self._imported = imported
        self._module = module

    def refers_to(self, node: ast.AST) -> Name | None:
        """Return the function that `node` may name. Returns None unless `node` is a name or an attribute."""
        if isinstance(node, ast.Name):
            module, _, name = self._imported.get(node.id, f"{self._module}.{node.id}").rpartition(".")
            return module, name
        if not isinstance(node, ast.Attribute):
            return None
        origin = self._imported.get(node.value.id, "") if isinstance(node.value, ast.Name) else ""
        is_class = origin.rpartition(".")[0] in _modules() and origin not in _modules()
        return ("" if is_class else origin, node.attr)


@cache
def _modules() -> set[str]:
    return {_module_name(path) for path in SOURCES}


def _module_name(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    return relative.removesuffix(".__init__")


def _imported(tree: ast.AST) -> dict[str, str]:
    """Return the names that a module imports, each with its dotted origin."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@cache
def _codes_by_name() -> dict[Name, set[str]]:
    """Return the codes that each function can raise.

    Functions call each other in circles, so this is a least fixed point: each round lets the codes rise by
    one call, until none rises any more. To follow every path of calls would take exponential time.
    """
    codes: dict[Name, set[str]] = {name: set() for name in _functions()}
    while True:
        risen = {
            name: {code for function in functions for code in _codes_in(function.tree, function, codes)}
            for name, functions in _functions().items()
        }
        if risen == codes:
            return codes
        codes = risen


def _codes_in(node: ast.AST, function: Function, codes: dict[Name, set[str]]) -> Iterator[str]:
    """Yield the codes that `node` raises. codes: those that are known of each function."""
    if isinstance(node, ast.Constant) and node.value in REGISTRY:
        yield node.value
    name = function.refers_to(node)
    if name and name[1] in EXCEPTIONS:
        yield EXCEPTIONS[name[1]]
    elif name:
        yield from codes.get(name, ())
    if isinstance(node, ast.Try):
        caught = set[str]().union(*(_caught(handler) for handler in node.handlers))
        yield from {code for part in node.body for code in _codes_in(part, function, codes)} - caught
    for part in _children(node):
        yield from _codes_in(part, function, codes)


def _children(node: ast.AST) -> list[ast.AST]:
    """Return the parts of `node` whose codes are raised: neither a `try` body nor the name of an `except`."""
    if isinstance(node, ast.Try):
        return [*node.handlers, *node.orelse, *node.finalbody]
    return list(node.body) if isinstance(node, ast.ExceptHandler) else list(ast.iter_child_nodes(node))


def _caught(handler: ast.ExceptHandler) -> set[str]:
    """Return the codes that an `except` catches and does not raise again."""
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
