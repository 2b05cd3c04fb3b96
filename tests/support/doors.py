"""The doors of the service: who opens a session or issues tokens, read from the syntax of the code.

A use of a door counts whether it is a call or not: `database.write(sessions.create, ...)` names it alone.
"""

import ast
from collections.abc import Iterator
from typing import Any

from tests.support.contract import METHODS
from tests.support.source import Module, _nodes

DOORS = {
    "auth.sessions.create",
    "auth.sign_in.open_session",
    "auth.sign_in.enter",
    "auth.tokens.pair.issue",
    "auth.tokens.access.issue",
}
SQL_OF_A_SESSION = "INSERT INTO auth_sessions"

Use = tuple[str, str, str]  # path of the module, outermost function or class around it, door


def uses(module: Module) -> set[Use]:
    """Return every use of a door in a module."""
    origins = _origins(module)
    return {
        (module.path, functions[0].name if functions else "", door)
        for node, functions in _nodes(module.tree, ())
        for door in _doors_of(node, origins)
    }


def operations_with_a_token(paths: dict[str, Any]) -> set[tuple[str, str]]:
    """Return method and path of every operation whose success may hold an access token.

    paths: of openapi.yaml, without $ref.
    """
    return {
        (method.upper(), path)
        for path, item in paths.items()
        for method in METHODS
        if method in item
        for status, answer in item[method]["responses"].items()
        if status.startswith(("2", "3", "default")) and _names_a_token(answer)
    }


def _origins(module: Module) -> dict[str, str]:
    """Return the top-level names of a module, each with its dotted path."""
    package = module.path.rpartition("/")[0].split("/")
    origins = {function.name: f"{module.name}.{function.name}" for function in module.functions}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            parents = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            origins |= {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            origins |= {alias.asname: alias.name for alias in node.names if alias.asname}
    return origins


def _doors_of(node: ast.AST, origins: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Name | ast.Attribute):
        first, _, rest = ast.unparse(node).partition(".")
        name = origins.get(first, first) + (f".{rest}" if rest else "")
        if name in DOORS:
            yield name
    elif isinstance(node, ast.Constant) and SQL_OF_A_SESSION in " ".join(str(node.value).split()):
        yield SQL_OF_A_SESSION


def _names_a_token(node: Any) -> bool:
    """Return whether a schema below `node` has a property `token` or `access_token`."""
    if isinstance(node, list):
        return any(map(_names_a_token, node))
    if not isinstance(node, dict):
        return False
    properties = node.get("properties", {})
    return not {"token", "access_token"}.isdisjoint(properties) or any(map(_names_a_token, node.values()))
