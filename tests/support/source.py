"""The code as syntax trees: what a module imports, calls and defines. Nothing of it is imported or run."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from tests.support import ROOT

SERVICE = ("auth", "dev", "ops", "runtime")
TOOLS = ("bench", "fuzz")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One imported name, with the dotted path to it.

    in_main: the import stands under `if __name__ == "__main__"`.
    """

    name: str
    line: int
    in_main: bool

    @property
    def library(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Call:
    """One call. functions: the definitions around it, the outermost first."""

    node: ast.Call
    functions: tuple[Function, ...]

    @property
    def target(self) -> str:
        """What is called, as it is written: `cur.execute`."""
        return ast.unparse(self.node.func)


@dataclass(frozen=True)
class Use:
    """One use of an attribute, called or not. functions: the definitions around it, the outermost first."""

    node: ast.Attribute
    functions: tuple[Function, ...]

    @property
    def target(self) -> str:
        """The attribute with what it belongs to, as it is written: `cur.execute`."""
        return ast.unparse(self.node)

    @property
    def owner(self) -> str:
        """What the attribute belongs to, as it is written: `cur` of `cur.execute`."""
        return ast.unparse(self.node.value)


@dataclass(frozen=True)
class Module:
    """A Python file. path: relative to the root of the repository."""

    path: str
    source: str = field(repr=False)

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def folder(self) -> str:
        return self.path.partition("/")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def imports(self) -> list[Import]:
        """What the module imports anywhere; imports for the type checker alone do not count."""
        package = self.path.rpartition("/")[0].split("/")
        return list(_imports(self.tree, package, in_main=False))

    @cached_property
    def calls(self) -> list[Call]:
        return [Call(node, functions) for node, functions in self._nodes if isinstance(node, ast.Call)]

    @cached_property
    def uses(self) -> list[Use]:
        return [Use(node, functions) for node, functions in self._nodes if isinstance(node, ast.Attribute)]

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @cached_property
    def _nodes(self) -> list[tuple[ast.AST, tuple[Function, ...]]]:
        return list(_nodes(self.tree, ()))


Rule = Callable[[Module], Iterator[str]]


@cache
def service_modules() -> list[Module]:
    """Return the modules of the service, with those that serve it for development."""
    return [_read(path) for path in ROOT.glob("*.py")] + _below(*SERVICE)


@cache
def tool_modules() -> list[Module]:
    """Return the modules of `make bench` and `make fuzz`."""
    return _below(*TOOLS)


@cache
def test_modules() -> list[Module]:
    return _below("tests")


def violations(rule: Rule, modules: list[Module]) -> list[str]:
    """Return how `modules` break a rule, each finding behind the path of its module."""
    return [f"{module.path}: {finding}" for module in modules for finding in rule(module)]


def import_cycles(modules: list[Module]) -> list[str]:
    """Return a sentence for every module whose imports lead back to it."""
    names = {module.name for module in modules}
    imported = {module.name: _modules_imported(module, names) - {module.name} for module in modules}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        pending = [*imported[start]]
        while pending:
            name = pending.pop()
            pending += imported[name] - seen
            seen |= imported[name] | {name}
        return seen

    return sorted(f"{name} is part of an import cycle" for name in names if name in reached(name))


def _modules_imported(module: Module, names: set[str]) -> set[str]:
    """Return the modules among `names` that `module` imports, as a whole or a name of them."""
    return {
        each.name if each.name in names else each.name.rpartition(".")[0] for each in module.imports
    } & names


def parameters(function: Function) -> dict[str, str]:
    """Return the parameters of a function, each with its annotation, "" for none."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return {each.arg: ast.unparse(each.annotation) if each.annotation else "" for each in every}


def _below(*folders: str) -> list[Module]:
    return [
        _read(path)
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "node_modules" not in path.parts
    ]


def _read(path: Path) -> Module:
    return Module(path.relative_to(ROOT).as_posix(), path.read_text())


def _imports(node: ast.AST, package: list[str], *, in_main: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, in_main) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parents = package[: len(package) + 1 - node.level] if node.level else []
        base = ".".join([*parents, *([node.module] if node.module else [])])
        yield from (Import(f"{base}.{alias.name}", node.lineno, in_main) for alias in node.names)
    test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If) and test in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        children = [*node.orelse]
    for child in children:
        yield from _imports(child, package, in_main=in_main or test == "__name__ == '__main__'")


def _nodes(node: ast.AST, functions: tuple[Function, ...]) -> Iterator[tuple[ast.AST, tuple[Function, ...]]]:
    """Yield every node below `node`, each with the definitions around it."""
    yield node, functions
    if isinstance(node, Function):
        functions = (*functions, node)
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child, functions)
