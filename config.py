"""The settings of the service: read from a mapping, checked together, frozen.

Nothing is read at import. `read_environment` is the one place that looks at the
process environment and at `.env`; tests build `Settings` by hand.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

import click
from dotenv.parser import Binding, parse_stream

from runtime import capacity, settings

DEFAULT_CORS_ORIGINS = (
    "http://localhost:3000",
    "http://localhost:3001",
    "http://127.0.0.1:3000",
    "http://127.0.0.1:3001",
)
SAMPLE_SECRET_KEYS = frozenset(
    {"change-me", "changeme", "secret", "dev", "your-secret-key", "development-only-secret-key-do-not-deploy"}
)
DAY_SECONDS = 24 * 3600
MAX_BODY_BYTES = 64 * 1024
RETRY_AFTER_SECONDS = 2  # what a 503 tells clients
MIN_KEY_BYTES = 32  # RFC 7518 section 3.2: an HS256 key has at least 256 bits
MIN_SAFE_BCRYPT_ROUNDS = 10  # OWASP Password Storage Cheat Sheet


class ConfigError(click.ClickException):
    """Every bad variable with what it must be; never the value that was given.

    A ClickException, so that the `flask` command prints it as a sentence and exits with 1.
    """

    def __init__(self, problems: Mapping[str, str], doubts: Sequence[str] = ()) -> None:
        self.problems = dict(problems)
        listed = "; ".join(f"{name} {rule}" for name, rule in self.problems.items())
        super().__init__(" ".join([f"The service cannot start: {listed}.", *doubts]))


@dataclass(frozen=True)
class Settings:
    """What an operator may set. README.md explains every variable."""

    db_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    port: int = 8080
    debug: bool = False
    cors_origins: tuple[str, ...] = DEFAULT_CORS_ORIGINS
    jwt_expires_seconds: int = 3600
    bcrypt_rounds: int = 12
    password_min_length: int = 8
    log_level: str = "INFO"
    refresh_expires_seconds: int = 14 * DAY_SECONDS
    session_max_seconds: int = 30 * DAY_SECONDS  # NIST SP 800-63B-4, AAL1
    refresh_reuse_seconds: int = 10
    trusted_proxies: int = 0
    keepalive_seconds: int = 75  # longer than load balancers keep an idle connection
    gunicorn_workers: int = field(default_factory=lambda: capacity.workers())
    gunicorn_threads: int = 0  # 0: enough for everything that may wait, see gunicorn.conf.py
    db_pool_size: int = capacity.POOL_SIZE  # a worker
    hash_slots: int = field(default_factory=lambda: capacity.available_cpus())  # of all workers together
    hash_queue: int = 32  # a worker
    unknown_names: tuple[str, ...] = ()  # variables that look like ours

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Return the settings that `environ` describes; an empty value counts as unset.

        Raises ConfigError with every bad variable, not only the first.
        """
        found: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for name, parse in _PARSERS.items():
            raw = _bare(environ, name)
            try:
                if raw:
                    found[_FIELDS.get(name, name.lower())] = parse(raw)
                elif name in _REQUIRED:
                    problems[name] = "is required"
            except ValueError as rule:
                problems[name] = str(rule)
        unknown = tuple(name for name in environ if name not in _PARSERS and _looks_like_ours(name))
        if problems:
            raise ConfigError(problems, [_doubt(name) for name in unknown])
        if found.get("debug"):
            found["log_level"] = "DEBUG"
        workers = found.setdefault(
            "gunicorn_workers", capacity.workers(found.get("db_pool_size", capacity.POOL_SIZE))
        )
        found.setdefault("db_pool_size", capacity.pool_size(workers))
        return cls(**found, unknown_names=unknown)

    def doubts(self) -> list[str]:
        """Return which names in `.env` are perhaps meant for this service but are none of its variables."""
        return [_doubt(name) for name in self.unknown_names]

    def warnings(self) -> list[str]:
        """Return what an operator should mend although the service can run with it."""
        found = []
        if settings.bare(self.secret_key) != self.secret_key:
            found.append(
                "SECRET_KEY begins or ends with a line end, a blank or quotes, which are part of it: a"
                " service that has it without them refuses the tokens of this one"
            )
        if settings.bare(self.secret_key) in SAMPLE_SECRET_KEYS:
            found.append("SECRET_KEY is a sample value: anybody who looks it up can sign tokens")
        elif len(self.secret_key.encode()) < MIN_KEY_BYTES:
            found.append(
                f"SECRET_KEY is shorter than {MIN_KEY_BYTES} bytes: it can be guessed, tokens forged"
            )
        if self.bcrypt_rounds < MIN_SAFE_BCRYPT_ROUNDS:
            found.append(f"BCRYPT_ROUNDS is below {MIN_SAFE_BCRYPT_ROUNDS}: stolen hashes are cheap to guess")
        return found


def read_environment(directory: Path | None = None) -> dict[str, str]:
    """Return the service's variables of the process environment over all of the `.env` in `directory`.

    directory: that of this file when None. `${...}` is not expanded, so a secret may contain it. Empty
    values are left out. Raises ConfigError.
    """
    from_file = _read_file((directory or Path(__file__).parent) / ".env")
    return from_file | {name: os.environ[name] for name in _PARSERS if _bare(os.environ, name)}


def _bare(environ: Mapping[str, str], name: str) -> str:
    """Return a value without what an editor or an env-file put around it.

    SECRET_KEY stays as it is, for sibling services share it byte for byte.
    """
    raw = environ.get(name, "")
    return raw if name == "SECRET_KEY" and settings.bare(raw) else settings.bare(raw)


def _read_file(path: Path) -> dict[str, str]:
    """Return the values that a `.env` holds, none when there is no such file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin with a byte order mark
    except (FileNotFoundError, IsADirectoryError):  # some keep a virtual environment under this name
        return {}
    except UnicodeDecodeError:
        raise ConfigError({str(path): "must be UTF-8 text"}) from None
    except OSError as exc:
        raise ConfigError({str(path): f"cannot be read ({exc.strerror})"}) from None
    bindings = list(parse_stream(StringIO(text)))
    if bad := [_line(binding) for binding in bindings if binding.error]:
        raise ConfigError({f"{path}, line {', '.join(bad)},": "cannot be read: NAME=value is expected"})
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value}


def _line(binding: Binding) -> str:
    """Return the number of the line that a statement of a `.env` is on; its text begins with empty lines."""
    text = binding.original.string
    return str(binding.original.line + text[: len(text) - len(text.lstrip())].count("\n"))


def _looks_like_ours(name: str) -> bool:
    """Return whether `name` is perhaps meant for this service; FLASK_APP and its like are Flask's own."""
    words = {known.partition("_")[0] for known in _PARSERS} - {"FLASK"}
    return bool(_meant(name)) or name.partition("_")[0] in words


def _meant(name: str) -> str | None:
    """Return the variable that `name` is probably a slip of."""
    if name in _NAMES_ELSEWHERE:
        return _NAMES_ELSEWHERE[name]
    return next(iter(get_close_matches(name.upper(), _PARSERS, n=1, cutoff=0.8)), None)


def _doubt(name: str) -> str:
    meant = _meant(name)
    return f"{name} in .env is no variable of this service" + (f": is {meant} meant?" if meant else ".")


_REQUIRED = ("DB_URL", "SECRET_KEY")
_NAMES_ELSEWHERE = {  # what other services call it
    "ALLOWED_ORIGINS": "CORS_ORIGINS",
    "DATABASE_URL": "DB_URL",
    "JWT_SECRET": "SECRET_KEY",
    "JWT_SECRET_KEY": "SECRET_KEY",
    "WEB_CONCURRENCY": "GUNICORN_WORKERS",
}
_FIELDS = {"FLASK_DEBUG": "debug"}
_PARSERS: dict[str, Callable[[str], Any]] = {
    "DB_URL": settings.db_url,
    "SECRET_KEY": settings.secret_key,
    "PORT": settings.whole_number(1, 65535),
    "FLASK_DEBUG": settings.switch,
    "CORS_ORIGINS": settings.cors_origins,
    "JWT_EXPIRES_SECONDS": settings.whole_number(1, 366 * DAY_SECONDS),
    "REFRESH_EXPIRES_SECONDS": settings.whole_number(1, 366 * DAY_SECONDS),
    "SESSION_MAX_SECONDS": settings.whole_number(1, 366 * DAY_SECONDS),
    "REFRESH_REUSE_SECONDS": settings.whole_number(0, 300),
    "TRUSTED_PROXIES": settings.whole_number(0, 10),
    "KEEPALIVE_SECONDS": settings.whole_number(1, 3600),
    "BCRYPT_ROUNDS": settings.whole_number(4, 16),
    "PASSWORD_MIN_LENGTH": settings.whole_number(8, 64),
    "LOG_LEVEL": settings.log_level,
    "GUNICORN_WORKERS": settings.whole_number(1, 64),
    "GUNICORN_THREADS": settings.whole_number(4, 1000),
    "DB_POOL_SIZE": settings.whole_number(1, 100),
    "HASH_SLOTS": settings.whole_number(1, 64),
    "HASH_QUEUE": settings.whole_number(0, 1000),
}
