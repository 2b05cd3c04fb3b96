"""The rules of the house, read from the syntax of the code: who may import whom, and where SQL may stand."""

from collections.abc import Collection, Iterator
from fnmatch import fnmatch

from tests.support.source import Module, Rule, Use, parameters

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
        *["auth.error_handlers", "auth.housekeeping", "auth.devices", "auth.reauthentication"],
    ],
    [
        *["auth.throttling", "auth.throttling.*", "auth.tokens.*", "auth.mail", "auth.mail.*"],
        "auth.two_factor.*",
    ],
    [
        *["auth.client", "auth.users", "auth.emails", "auth.sessions", "auth.refresh_states"],
        "auth.principal",
        *["auth.passwords", "auth.new_passwords", "auth.stored_hashes", "auth.fields"],
        "auth.constraint_errors",
    ],
    ["auth.errors"],
    ["config"],
    ["db"],
    ["runtime.*"],
]

KNOWS_HTTP = (
    *("app.py", "dev/*", "ops/*", "runtime/logs.py", "runtime/headers.py"),
    *("auth/__init__.py", "auth/features/*", "auth/guard.py", "auth/bodies.py", "auth/services.py"),
    *("auth/blueprint.py", "auth/error_handlers.py", "auth/devices.py"),
)
FLASK = ["flask", "flask_bcrypt", "flask_cors", "werkzeug"]
# Who may import a library. `*` stands for any path.
LIBRARIES = {
    **dict.fromkeys(FLASK, KNOWS_HTTP),
    "gunicorn": ("gunicorn.conf.py", "runtime/worker.py"),
    **dict.fromkeys(["jinja2", "markupsafe"], ("auth/mail/messages.py",)),
    "cryptography": ("auth/two_factor/encryption.py",),
    "segno": ("auth/two_factor/key_uri.py",),
    "psycopg2": (
        *("db.py", "dev/*", "runtime/connection.py", "runtime/deadline_cursor.py", "runtime/faults.py"),
        *("runtime/hosts.py", "runtime/schema.py", "runtime/schema_errors.py", "runtime/schema_version.py"),
        "runtime/settings.py",
    ),
}
# The way to PostgreSQL. Other modules than these, those of runtime/ and those of dev/ go through db.
BEHIND_DB = [
    *["runtime.connection", "runtime.deadline", "runtime.deadline_cursor", "runtime.faults", "runtime.hosts"],
    *["runtime.pool", "runtime.schema*"],
]
MAY_PASS_DB = ["db.py", "runtime/*", "dev/*"]
# These modules make their own connection or cursor. All others run SQL on a cursor of their caller.
OPENS_CURSORS = [
    *["runtime/connection.py", "runtime/deadline_cursor.py", "runtime/hosts.py", "runtime/schema.py"],
    "dev/*",
]
RUNS_SQL = {"callproc", "copy_expert", "copy_from", "copy_to", "execute", "executemany"}
PRINCIPAL = ("principal", "g.principal")
# A feature may name the user of a principal here alone: who revokes the own session by its id needs no check.
USES_THE_USER_ID = {"auth/features/sessions.py": "logout"}
CONNECTS_TO_POSTGRESQL = ["runtime/hosts.py", "dev/*"]
# Pure modules get time, keys and randomness as arguments.
PURE = [
    *[
        "config.py",
        "runtime/mail_settings.py",
        "runtime/two_factor_settings.py",
        "auth/mail/retries.py",
        "auth/mail/values.py",
        "auth/fields.py",
        "auth/new_passwords.py",
        "auth/responses.py",
        "auth/stored_hashes.py",
    ],
    *["auth/tokens/access.py", "auth/tokens/refresh.py", "auth/tokens/pair.py"],
    *["auth/throttling/limits.py", "auth/throttling/device_cookie.py", "auth/throttling/keys.py"],
    "auth/mail/names.py",
    *["auth/two_factor/totp.py", "auth/two_factor/recovery_codes.py", "auth/two_factor/key_uri.py"],
    "auth/two_factor/encryption.py",
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


def import_behind_db(module: Module) -> Iterator[str]:
    """Report who goes past db, the one door to PostgreSQL."""
    for each in module.imports:
        name = ".".join(each.name.split(".")[:2])
        if matches(name, BEHIND_DB) and not matches(module.path, MAY_PASS_DB):
            yield f"imports {each.name}, which stands behind db"


def sql_of(module: Module) -> Iterator[Use]:
    """Yield the uses of a cursor's methods that run SQL, but not those of a principal."""
    yield from (use for use in module.uses if use.node.attr in RUNS_SQL and use.owner not in PRINCIPAL)


def misplaced_sql(module: Module) -> Iterator[str]:
    """Report SQL on another cursor than the parameter `cur`, and all SQL in a feature."""
    if matches(module.path, OPENS_CURSORS):
        return
    for use in sql_of(module):
        names = {name for function in use.functions for name in parameters(function)}
        if use.owner != "cur" or "cur" not in names or feature_of(module.name) is not None:
            yield f"line {use.node.lineno}: {use.target}, where no cursor comes in"


def unauthenticated_sql(module: Module) -> Iterator[str]:
    """Report SQL of a cursor where a principal is known.

    `principal.execute` checks the user and the session in the same statement; a statement beside it would
    serve a revoked session.
    """
    if module.folder != "auth" or module.path == "auth/principal.py":
        return
    for use in sql_of(module):
        annotations = [kind for function in use.functions for kind in parameters(function).values()]
        if any("Principal" in kind for kind in annotations):
            yield f"line {use.node.lineno}: {use.target} instead of principal.execute"


def unchecked_user_id(module: Module) -> Iterator[str]:
    """Report a feature that takes the user out of a principal.

    A statement that gets the id instead of the principal would serve a revoked session.
    """
    for use in module.uses:
        is_of_principal = use.owner in (*PRINCIPAL, "identify()")
        if feature_of(module.name) is None or use.node.attr != "user_id" or not is_of_principal:
            continue
        if USES_THE_USER_ID.get(module.path) not in [function.name for function in use.functions]:
            yield f"line {use.node.lineno}: {use.target} instead of the principal"


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
    import_behind_db,
    misplaced_sql,
    unauthenticated_sql,
    unchecked_user_id,
    misplaced_library,
    misplaced_connect,
    impure_module,
    use_of_print,
]
