"""The service keeps the rules of the house, and each rule reports the snippets that break it."""

from fnmatch import filter as filter_names

import pytest

from tests.support import source
from tests.support.rules import (
    BEHIND_DB,
    CONNECTS_TO_POSTGRESQL,
    LEVELS,
    LIBRARIES,
    MAY_PASS_DB,
    OPENS_CURSORS,
    PURE,
    RULES,
    USES_THE_USER_ID,
    import_behind_db,
    import_of_a_feature,
    import_of_development,
    import_upwards,
    impure_module,
    misplaced_connect,
    misplaced_library,
    misplaced_sql,
    module_without_a_level,
    unauthenticated_sql,
    unchecked_user_id,
    use_of_print,
)
from tests.support.source import Module, Rule, import_cycles, violations


@pytest.mark.parametrize("rule", RULES)
def test_service_keeps_the_rule(rule: Rule) -> None:
    findings = violations(rule, source.service_modules())

    assert not findings, "\n".join(findings)


def test_rules_name_no_module_that_is_gone() -> None:
    names = [module.name for module in source.service_modules()]
    paths = [module.path for module in source.service_modules()]
    of_modules = [pattern for patterns in [*LEVELS, BEHIND_DB] for pattern in patterns]
    of_files = {*MAY_PASS_DB, *OPENS_CURSORS, *CONNECTS_TO_POSTGRESQL, *PURE}.union(*LIBRARIES.values())

    assert [pattern for pattern in of_modules if not filter_names(names, pattern)] == []
    assert [pattern for pattern in sorted(of_files) if not filter_names(paths, pattern)] == []


def test_rules_name_no_function_that_is_gone() -> None:
    functions = {
        (module.path, function.name) for module in source.service_modules() for function in module.functions
    }

    assert USES_THE_USER_ID.items() <= functions


def test_service_has_no_import_cycle() -> None:
    cycles = import_cycles(source.service_modules())

    assert not cycles, "\n".join(cycles)


FOR_TYPES = "if TYPE_CHECKING:\n    "
IN_MAIN = "if __name__ == '__main__':\n    "
SQL = "cur.execute(SELECT)"
FIND = "def find(cur, principal: Principal):"

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
    (import_behind_db, "ops/startup.py", "from runtime.faults import DatabaseUnavailable"),
    (import_behind_db, "auth/users.py", "from runtime import pool"),
    (import_behind_db, "auth/users.py", "from runtime import deadline"),
    (import_behind_db, "app.py", "import runtime.deadline_cursor"),
    (import_behind_db, "config.py", "from runtime.hosts import Hosts"),
    (import_behind_db, "gunicorn.conf.py", "from runtime import connection"),
    (import_behind_db, "ops/commands.py", "from runtime import schema"),
    (import_behind_db, "ops/commands.py", "from runtime.schema_version import read"),
    (misplaced_sql, "auth/users.py", f"def find(conn):\n    with conn.cursor() as cur:\n        {SQL}"),
    (
        misplaced_sql,
        "auth/users.py",
        "def find(conn):\n    with conn.cursor() as c:\n        c.execute(SELECT)",
    ),
    (misplaced_sql, "auth/users.py", "def find(cur):\n    cur.connection.cursor().execute(SELECT)"),
    (misplaced_sql, "auth/users.py", "database.read(lambda cur: cur.execute(SELECT))"),
    (misplaced_sql, "auth/features/login.py", f"def find(cur):\n    {SQL}"),
    (misplaced_sql, "auth/features/login.py", "def find(cur):\n    run = cur.execute\n    run(SELECT)"),
    (misplaced_sql, "auth/features/login.py", "def find(cur):\n    cur.executemany(INSERT, rows)"),
    (misplaced_sql, "ops/health.py", "def export(conn):\n    conn.cursor().copy_expert(COPY, file)"),
    (misplaced_sql, "ops/health.py", "def call(conn):\n    conn.cursor().callproc('now')"),
    (unauthenticated_sql, "auth/users.py", f"def find(cur, *, principal: Principal):\n    {SQL}"),
    (unauthenticated_sql, "auth/users.py", f"{FIND}\n    run = cur.execute\n    run(SELECT)"),
    (unauthenticated_sql, "auth/users.py", f"{FIND}\n    cur.callproc('purge')"),
    (unauthenticated_sql, "auth/users.py", f"{FIND}\n    with other() as c:\n        c.execute(SELECT)"),
    (unchecked_user_id, "auth/features/profile.py", "database.read(users.find_by_id, g.principal.user_id)"),
    (unchecked_user_id, "auth/features/profile.py", "def own(principal):\n    return principal.user_id"),
    (unchecked_user_id, "auth/features/oauth/routes.py", "user_id = identify().user_id"),
    (unchecked_user_id, "auth/features/sessions.py", "def revoke():\n    write(principal.user_id)"),
    (unchecked_user_id, "auth/features/profile.py", "def logout():\n    write(principal.user_id)"),
    (misplaced_library, "auth/errors.py", "from flask import json"),
    (misplaced_library, "auth/passwords.py", "from flask_bcrypt import Bcrypt"),
    (misplaced_library, "runtime/wsgi.py", "from werkzeug.exceptions import HTTPException"),
    (misplaced_library, "runtime/answering.py", "from gunicorn.workers.base import Worker"),
    (misplaced_library, "auth/users.py", "from psycopg2.extensions import cursor"),
    (misplaced_library, "auth/features/password.py", "from jinja2 import Template"),
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
    (import_behind_db, "db.py", "from runtime.pool import Pool"),
    (import_behind_db, "runtime/pool.py", "from runtime.faults import DatabaseUnavailable"),
    (import_behind_db, "ops/health.py", "from runtime import bulkhead\nfrom db import DatabaseUnavailable"),
    (misplaced_sql, "auth/users.py", f"def find(cur):\n    def fetch():\n        {SQL}"),
    (misplaced_sql, "runtime/deadline_cursor.py", "super().execute(statement)"),
    (unauthenticated_sql, "auth/users.py", f"{FIND}\n    principal.execute(cur, SELECT)"),
    (unauthenticated_sql, "auth/principal.py", f"def execute(cur, principal: Principal):\n    {SQL}"),
    (unchecked_user_id, "auth/features/sessions.py", "def logout():\n    write(principal.user_id)"),
    (unchecked_user_id, "auth/features/sessions.py", "def ids():\n    return g.principal.session_id"),
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
