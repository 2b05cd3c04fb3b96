"""The rules of the house, read from the syntax of the code: who may import whom, and where SQL may stand.

Each rule is tested twice: on the service, and on snippets that break it.
"""

from collections.abc import Collection, Iterator
from fnmatch import filter as filter_names
from fnmatch import fnmatch

import pytest

from tests.support import source
from tests.support.source import Module, Rule, import_cycles, parameters, violations

# The highest level first. A module imports modules of its own level and of lower ones, never of higher ones.
# "x.*" is the package x with its modules.
LEVELS = [
    ["dev.*"],
    ["app", "gunicorn.conf"],
    ["ops.*"],
    ["auth"],
    ["auth.features.*"],
    [
        *["auth.sign_in", "auth.guard", "auth.bodies", "auth.responses", "auth.blueprint", "auth.services"],
        *["auth.error_handlers", "auth.housekeeping"],
    ],
    ["auth.tokens.*"],
    [
        *["auth.users", "auth.sessions", "auth.refresh_states", "auth.principal", "auth.passwords"],
        *["auth.stored_hashes", "auth.fields", "auth.constraint_errors"],
    ],
    ["auth.errors"],
    ["config"],
    ["db"],
    ["runtime.*"],
]

KNOWS_HTTP = (
    *("app.py", "dev/*", "ops/*", "runtime/logs.py", "runtime/headers.py"),
    *("auth/__init__.py", "auth/features/*", "auth/guard.py", "auth/bodies.py", "auth/services.py"),
    *("auth/blueprint.py", "auth/error_handlers.py"),
)
FLASK = ["flask", "flask_bcrypt", "flask_cors", "werkzeug"]
# Who may import a library. `*` stands for any path.
LIBRARIES = {
    **dict.fromkeys(FLASK, KNOWS_HTTP),
    "gunicorn": ("gunicorn.conf.py", "runtime/worker.py"),
    "psycopg2": (
        *("db.py", "dev/*", "runtime/connection.py", "runtime/deadline_cursor.py", "runtime/faults.py"),
        *("runtime/hosts.py", "runtime/schema.py", "runtime/schema_errors.py", "runtime/schema_version.py"),
        "runtime/settings.py",
    ),
}
# These modules make their own connection. All others run SQL on a cursor that their caller hands them.
OPENS_CURSORS = ["runtime/connection.py", "runtime/hosts.py", "runtime/schema.py", "dev/*"]
CONNECTS_TO_POSTGRESQL = ["runtime/hosts.py", "dev/*"]
# Pure modules get time, keys and randomness as arguments.
PURE = [
    *["config.py", "auth/fields.py", "auth/responses.py", "auth/stored_hashes.py"],
    *["auth/tokens/access.py", "auth/tokens/refresh.py", "auth/tokens/pair.py"],
]
IMPURE = {*FLASK, "psycopg2", "db"}
CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time"}


def matches(path: str, patterns: Collection[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def level_of(name: str) -> int | None:
    """Return the level of the module that `name` is or stands in, 0 for the highest.

    Returns None for what does not belong to the service.
    """
    while name:
        for level, patterns in enumerate(LEVELS):
            if matches(name, patterns) or f"{name}.*" in patterns:
                return level
        name = name.rpartition(".")[0]
    return None


def feature_of(name: str) -> str | None:
    """Return the feature that a module belongs to, "" for their package. Returns None for other modules."""
    parts = name.split(".")
    return ".".join(parts[2:3]) if parts[:2] == ["auth", "features"] else None


def module_without_a_level(module: Module) -> Iterator[str]:
    levels = [names for names in LEVELS if matches(module.name, names) or f"{module.name}.*" in names]
    if len(levels) != 1:
        yield f"{module.name} stands on {len(levels)} levels of LEVELS instead of one"


def import_upwards(module: Module) -> Iterator[str]:
    own = level_of(module.name)
    for each in module.imports:
        level = level_of(each.name)
        if own is not None and level is not None and level < own and each.library != "dev":
            yield f"imports {each.name}, which is above it"


def import_of_a_feature(module: Module) -> Iterator[str]:
    """Report who knows a feature of another.

    Only auth/__init__.py imports the package auth.features, only that package imports the features.
    """
    own = feature_of(module.name)
    for each in module.imports:
        feature = feature_of(each.name)
        is_allowed = feature == own or (own == "" and feature) or (module.name == "auth" and feature == "")
        if feature is not None and not is_allowed:
            yield f"imports {each.name}"


def import_of_development(module: Module) -> Iterator[str]:
    for each in module.imports:
        is_start = module.path == "app.py" and each.in_main
        if each.library == "tests" or (each.library == "dev" and module.folder != "dev" and not is_start):
            yield f"imports {each.name}"


def misplaced_sql(module: Module) -> Iterator[str]:
    for call in module.calls:
        if call.target in ("cur.execute", "cur.executemany"):
            names = {name for function in call.functions for name in parameters(function)}
            has_cursor = "cur" in names or matches(module.path, OPENS_CURSORS)
            if not has_cursor or module.path.startswith("auth/features/"):
                yield f"line {call.node.lineno}: {call.target}, where no cursor comes in"


def unauthenticated_sql(module: Module) -> Iterator[str]:
    """Report `cur.execute` where a principal is known.

    `principal.execute` checks the user and the session in the same statement; a statement beside it would
    serve a revoked session.
    """
    if module.folder != "auth" or module.path == "auth/principal.py":
        return
    for call in module.calls:
        annotations = [kind for function in call.functions for kind in parameters(function).values()]
        if call.target.startswith("cur.execute") and any("Principal" in kind for kind in annotations):
            yield f"line {call.node.lineno}: {call.target} instead of principal.execute"


def misplaced_library(module: Module) -> Iterator[str]:
    for each in module.imports:
        if not matches(module.path, LIBRARIES.get(each.library, ["*"])):
            yield f"imports {each.name}"


def misplaced_connect(module: Module) -> Iterator[str]:
    if not matches(module.path, CONNECTS_TO_POSTGRESQL):
        lines = [call.node.lineno for call in module.calls if call.target == "psycopg2.connect"]
        lines += [each.line for each in module.imports if each.name == "psycopg2.connect"]
        yield from (f"line {line}: psycopg2.connect" for line in lines)


def impure_module(module: Module) -> Iterator[str]:
    if matches(module.path, PURE):
        for each in module.imports:
            if each.library in IMPURE or each.name in CLOCKS:
                yield f"imports {each.name}"
        for call in module.calls:
            if ".".join(call.target.split(".")[-2:]) in CLOCKS:
                yield f"line {call.node.lineno}: reads the clock, {call.target}"


def use_of_print(module: Module) -> Iterator[str]:
    for call in module.calls:
        if call.target == "print" and module.folder in ("auth", "runtime"):
            yield f"line {call.node.lineno}: print"


RULES: list[Rule] = [
    module_without_a_level,
    import_upwards,
    import_of_a_feature,
    import_of_development,
    misplaced_sql,
    unauthenticated_sql,
    misplaced_library,
    misplaced_connect,
    impure_module,
    use_of_print,
]


@pytest.mark.parametrize("rule", RULES)
def test_service_keeps_the_rule(rule: Rule) -> None:
    findings = violations(rule, source.service_modules())

    assert not findings, "\n".join(findings)


def test_rules_name_no_module_that_is_gone() -> None:
    names = [module.name for module in source.service_modules()]
    paths = [module.path for module in source.service_modules()]
    of_modules = [pattern for patterns in LEVELS for pattern in patterns]
    of_files = {*OPENS_CURSORS, *CONNECTS_TO_POSTGRESQL, *PURE}.union(*LIBRARIES.values())

    assert [pattern for pattern in of_modules if not filter_names(names, pattern)] == []
    assert [pattern for pattern in sorted(of_files) if not filter_names(paths, pattern)] == []


def test_service_has_no_import_cycle() -> None:
    cycles = import_cycles(source.service_modules())

    assert not cycles, "\n".join(cycles)


FOR_TYPES = "if TYPE_CHECKING:\n    "
IN_MAIN = "if __name__ == '__main__':\n    "
SQL = "cur.execute(SELECT)"

BROKEN: list[tuple[Rule, str, str]] = [
    (module_without_a_level, "auth/newcomer.py", ""),
    (module_without_a_level, "helpers.py", ""),
    (import_upwards, "runtime/wsgi.py", "from config import MAX_BODY_BYTES"),
    (import_upwards, "db.py", "from config import Settings"),
    (import_upwards, "db.py", "from auth.errors import ApiError"),
    (import_upwards, "auth/errors.py", "from auth import users"),
    (import_upwards, "auth/users.py", "from auth.tokens import pair"),
    (import_upwards, "auth/sessions.py", "def later():\n    import auth.guard"),
    (import_upwards, "auth/tokens/pair.py", "from auth.sign_in import sign_in"),
    (import_upwards, "auth/tokens/pair.py", "from ..guard import login_required"),
    (import_upwards, "auth/guard.py", "from auth import bp"),
    (import_upwards, "auth/features/login.py", "from ops import health"),
    (import_upwards, "ops/health.py", "from app import create_app"),
    (import_of_a_feature, "auth/features/login.py", "from auth.features import sessions"),
    (import_of_a_feature, "auth/features/login.py", "from auth.features.sessions import body"),
    (import_of_a_feature, "ops/commands.py", "import auth.features"),
    (import_of_a_feature, "auth/__init__.py", "from auth.features import login"),
    (import_of_development, "auth/users.py", "from tests.support import PASSWORD"),
    (import_of_development, "ops/health.py", "from dev import server"),
    (import_of_development, "app.py", "from dev import server"),
    (misplaced_sql, "auth/users.py", f"def find(conn):\n    with conn.cursor() as cur:\n        {SQL}"),
    (misplaced_sql, "auth/features/login.py", f"def find(cur):\n    {SQL}"),
    (unauthenticated_sql, "auth/users.py", f"def find(cur, *, principal: Principal):\n    {SQL}"),
    (misplaced_library, "auth/errors.py", "from flask import json"),
    (misplaced_library, "auth/passwords.py", "from flask_bcrypt import Bcrypt"),
    (misplaced_library, "runtime/wsgi.py", "from werkzeug.exceptions import HTTPException"),
    (misplaced_library, "runtime/answering.py", "from gunicorn.workers.base import Worker"),
    (misplaced_library, "auth/users.py", "from psycopg2.extensions import cursor"),
    (misplaced_connect, "db.py", "connection = psycopg2.connect(dsn)"),
    (misplaced_connect, "db.py", "from psycopg2 import connect"),
    (impure_module, "auth/fields.py", "import flask"),
    (impure_module, "auth/responses.py", "from db import Cursor"),
    (impure_module, "config.py", "import db"),
    (impure_module, "config.py", "from psycopg2.extensions import parse_dsn"),
    (impure_module, "auth/tokens/access.py", "now = datetime.datetime.now(timezone.utc)"),
    (impure_module, "auth/tokens/refresh.py", "now = time.time()"),
    (impure_module, "auth/tokens/refresh.py", "from time import time"),
    (use_of_print, "runtime/logs.py", "print(line)"),
]
KEPT: list[tuple[Rule, str, str]] = [
    (import_upwards, "runtime/answering.py", f"{FOR_TYPES}from runtime.worker import BufferingWorker"),
    (import_upwards, "auth/users.py", "from auth.principal import Principal\nfrom db import Cursor"),
    (import_of_a_feature, "auth/__init__.py", "from auth import features"),
    (import_of_a_feature, "auth/features/__init__.py", "from auth.features import login"),
    (import_of_a_feature, "auth/features/oauth/routes.py", "from auth.features.oauth import client"),
    (import_of_development, "app.py", f"{IN_MAIN}from dev import server"),
    (misplaced_sql, "auth/users.py", f"def find(cur):\n    def fetch():\n        {SQL}"),
    (unauthenticated_sql, "auth/principal.py", f"def execute(cur, principal: Principal):\n    {SQL}"),
    (misplaced_library, "auth/passwords.py", f"{FOR_TYPES}from flask_bcrypt import Bcrypt"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN)
def test_rule_reports_what_breaks_it(rule: Rule, path: str, text: str) -> None:
    findings = violations(rule, [Module(path, text)])

    assert len(findings) == 1
    assert findings[0].startswith(f"{path}: ")


@pytest.mark.parametrize(("rule", "path", "text"), KEPT)
def test_rule_leaves_what_keeps_it(rule: Rule, path: str, text: str) -> None:
    assert violations(rule, [Module(path, text)]) == []


def test_import_cycle_is_reported() -> None:
    modules = [
        Module("auth/users.py", "from auth import sessions"),
        Module("auth/sessions.py", "from auth.principal import Principal"),
        Module("auth/principal.py", "from auth.users import User"),
        Module("auth/fields.py", "from auth.users import User"),
    ]

    assert import_cycles(modules) == [
        f"auth.{name} is part of an import cycle" for name in ("principal", "sessions", "users")
    ]


@pytest.mark.parametrize("rule", RULES)
def test_rule_is_seen_to_fail(rule: Rule) -> None:
    assert any(broken is rule for broken, _, _ in BROKEN)
