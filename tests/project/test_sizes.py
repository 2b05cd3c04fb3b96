"""How long a module and a function may be. Each budget is tested on the code and on snippets."""

from collections.abc import Callable, Iterator

import pytest

from tests.support import source
from tests.support.source import Module, Rule, violations

MAX_MODULE_LINES = 250
MAX_TEST_MODULE_LINES = 300
MAX_FACTORY_LINES = 79  # app.py is a table of contents
MAX_FUNCTION_LINES = 40


def long_module(module: Module) -> Iterator[str]:
    limits = {"tests": MAX_TEST_MODULE_LINES, "app.py": MAX_FACTORY_LINES}
    limit = limits.get(module.folder, MAX_MODULE_LINES)
    lines = len(module.source.splitlines())
    if lines > limit:
        yield f"{lines} lines, {limit} at most"


def long_function(module: Module) -> Iterator[str]:
    """Measure from `def` to the end; decorators do not count, tables of cases are decorators."""
    for function in module.functions:
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > MAX_FUNCTION_LINES:
            yield f"{function.name} has {lines} lines, {MAX_FUNCTION_LINES} at most"


def function_of(lines: int) -> str:
    return "@decorated\ndef long():\n" + "    pass\n" * (lines - 1)


@pytest.mark.parametrize("rule", [long_module, long_function])
@pytest.mark.parametrize(
    "read",
    [source.service_modules, source.tool_modules, source.test_modules],
    ids=["service", "tools", "tests"],
)
def test_code_keeps_to_its_budget(rule: Rule, read: Callable[[], list[Module]]) -> None:
    findings = violations(rule, read())

    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(
    ("rule", "path", "text", "finding"),
    [
        pytest.param(long_module, "auth/users.py", "\n" * 251, "251 lines, 250 at most", id="module"),
        pytest.param(long_module, "bench/run.py", "\n" * 251, "251 lines, 250 at most", id="tool"),
        pytest.param(long_module, "tests/auth/test_x.py", "\n" * 301, "301 lines, 300 at most", id="tests"),
        pytest.param(long_module, "app.py", "\n" * 80, "80 lines, 79 at most", id="factory"),
        pytest.param(
            long_function, "auth/users.py", function_of(41), "long has 41 lines, 40 at most", id="function"
        ),
    ],
)
def test_budget_that_is_exceeded_is_reported(rule: Rule, path: str, text: str, finding: str) -> None:
    assert violations(rule, [Module(path, text)]) == [f"{path}: {finding}"]


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        pytest.param(long_module, "auth/users.py", "\n" * 250, id="module"),
        pytest.param(long_module, "tests/auth/test_x.py", "\n" * 300, id="tests"),
        pytest.param(long_module, "app.py", "\n" * 79, id="factory"),
        pytest.param(long_function, "auth/users.py", function_of(40), id="function"),
    ],
)
def test_budget_that_is_used_up_is_kept(rule: Rule, path: str, text: str) -> None:
    assert violations(rule, [Module(path, text)]) == []
