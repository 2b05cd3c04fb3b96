"""The settings of the service. Each is declared once, here or in the group of a feature that may be off.

Nothing is read at import. `read_environment` alone looks at the process environment and at `.env`; tests
build `Settings` by hand. `make settings` writes the documentation of the variables after a change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime import capacity, declarations, environment, settings
from runtime.declarations import Computed, optional_group, setting
from runtime.declarations import ConfigError as ConfigError  # callers catch it from here
from runtime.mail_settings import MailSettings
from runtime.settings import Rate, WholeNumber
from runtime.two_factor_settings import TwoFactorSettings

SAMPLE_SECRET_KEY = "development-only-secret-key-do-not-deploy"  # noqa: S105
DAY_SECONDS = 24 * 3600
MAX_LIFETIME_SECONDS = 366 * DAY_SECONDS
MIN_KEY_BYTES = 32  # RFC 7518 section 3.2: an HS256 key has at least 256 bits
MIN_SAFE_BCRYPT_ROUNDS = 10  # OWASP Password Storage Cheat Sheet
FOREIGN_WORDS = ("FLASK",)  # FLASK_APP and others that begin so belong to Flask

BASICS, BROWSERS, SESSIONS = "Basics", "Browsers", "Tokens and sessions"
PROXIES, PASSWORDS, LIMITS, LOGGING, CAPACITY = "Proxies", "Passwords", "Limits", "Logging", "Capacity"


@dataclass(frozen=True)
class Settings:
    """Everything that an operator may set. The order is that of the documentation and of error messages."""

    db_url: str = setting(
        settings.db_url,
        group=BASICS,
        secret=True,
        example="postgresql://user_service:user_service@localhost:5432/user_service",
        other_names=("DATABASE_URL",),
        help="URL of the PostgreSQL to use, `postgresql://user:password@host:5432/database`. Special"
        " characters in the password are percent-encoded: `%40` is @. Required, but `make run` without it"
        " starts a PostgreSQL of its own, and docker-compose always uses its own.",
    )
    secret_key: str = setting(
        settings.secret_key,
        group=BASICS,
        secret=True,
        exact=True,  # sibling services share it byte for byte
        example=SAMPLE_SECRET_KEY,
        other_names=("JWT_SECRET", "JWT_SECRET_KEY"),
        help="Signs the tokens; every service that verifies them has the same key. It should be"
        f" {MIN_KEY_BYTES} random bytes or more: fewer, or a sample value that everybody can look up, get a"
        " warning at every start. Make your own:"
        " `python3 -c 'import secrets; print(secrets.token_urlsafe(48))'`. Required, but `make run` without"
        " it makes one.",
    )
    port: int = setting(
        WholeNumber(1, 65535),
        group=BASICS,
        default=8080,
        help="Port on which the service listens; with docker-compose the port on this machine.",
    )
    debug: bool = setting(
        settings.switch,
        group=BASICS,
        name="FLASK_DEBUG",
        default=False,
        help="With `make run`: reloader and debugger. Under gunicorn it only means `LOG_LEVEL=DEBUG`.",
    )
    cors_origins: tuple[str, ...] = setting(
        settings.cors_origins,
        group=BROWSERS,
        default=tuple(
            f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in (3000, 3001)
        ),
        other_names=("ALLOWED_ORIGINS",),
        help="The web frontends that may call from a browser, comma-separated, as `scheme://host[:port]`.",
    )
    jwt_expires_seconds: int = setting(
        WholeNumber(1, MAX_LIFETIME_SECONDS),
        group=SESSIONS,
        default=3600,
        help="Lifetime of an access token, in seconds.",
    )
    refresh_expires_seconds: int = setting(
        WholeNumber(1, MAX_LIFETIME_SECONDS),
        group=SESSIONS,
        default=14 * DAY_SECONDS,
        help="How long a session lasts without a refresh, in seconds. The default is 14 days.",
    )
    session_max_seconds: int = setting(
        WholeNumber(1, MAX_LIFETIME_SECONDS),
        group=SESSIONS,
        default=30 * DAY_SECONDS,
        help="How long a session lasts in all, in seconds. The default is 30 days (NIST SP 800-63B-4, AAL1).",
    )
    refresh_reuse_seconds: int = setting(
        WholeNumber(0, 300),
        group=SESSIONS,
        default=10,
        help="How long a refresh token that was just replaced still gets its successor, in seconds: for two"
        " tabs that refresh at the same moment, and for a client that did not receive the answer.",
    )
    trusted_proxies: int = setting(
        WholeNumber(0, 10),
        group=PROXIES,
        default=0,
        help="Number of proxies in front of the service, each of which adds the address that it saw to"
        " `X-Forwarded-For`.",
    )
    keepalive_seconds: int = setting(
        WholeNumber(1, 3600),
        group=PROXIES,
        default=75,
        help="How long an idle connection is kept, in seconds: longer than the proxy or load balancer in"
        " front keeps its own (see Behind a proxy).",
    )
    bcrypt_rounds: int = setting(
        WholeNumber(4, 16),
        group=PASSWORDS,
        default=12,
        help=f"Cost of a password hash; each step doubles it. Below {MIN_SAFE_BCRYPT_ROUNDS} the service"
        " warns. A login strengthens a weaker hash. Lowering the cost lets the response time of a refusal"
        " reveal which accounts have older, stronger hashes.",
    )
    password_min_length: int = setting(
        WholeNumber(8, 64),
        group=PASSWORDS,
        default=8,
        help="Length of the shortest password that a user may choose, in characters.",
    )
    password_blocklist: bool = setting(
        settings.switch,
        group=PASSWORDS,
        default=True,
        help="Refuses a new password that is common, the username, the email or its part before the @.",
    )
    rate_limits: bool = setting(
        settings.switch,
        group=LIMITS,
        default=True,
        help="Whether the limits below hold. `N/period` allows N at once, refilled evenly over the period.",
    )
    limit_address_failures: Rate = setting(
        settings.rate,
        group=LIMITS,
        default=Rate(100, "10m"),
        help="Failed proofs of identity of any kind, for each client address (IPv6: its /64).",
    )
    limit_account_failures: Rate = setting(
        settings.rate,
        group=LIMITS,
        default=Rate(10, "10m"),
        help="Failed logins by strangers, for each account under all its names.",
    )
    limit_device_failures: Rate = setting(
        settings.rate,
        group=LIMITS,
        default=Rate(10, "10m"),
        help="Failed logins by a known device, for each account and device.",
    )
    lockout_failures: int = setting(
        WholeNumber(0, 999999),
        group=LIMITS,
        default=100,
        help="Failed logins in a row after which only known devices may try. 0 locks nobody out.",
    )
    limit_registrations: Rate = setting(
        settings.rate,
        group=LIMITS,
        default=Rate(100, "10m"),
        help="Registrations that reached the hash, for each client address.",
    )
    two_factor: TwoFactorSettings | None = optional_group(
        "Second factor", TwoFactorSettings, switch="TWO_FACTOR"
    )
    mail: MailSettings | None = optional_group("Mail", MailSettings, switch="SMTP_URL")
    log_level: str = setting(
        settings.log_level,
        group=LOGGING,
        default="INFO",
        help=f"The lowest level that is logged: one of {', '.join(settings.LOG_LEVELS)}.",
    )
    gunicorn_workers: int = setting(
        WholeNumber(1, 64),
        group=CAPACITY,
        default=Computed(
            lambda: capacity.workers(), "one a core, as far as memory and PostgreSQL's 100 connections allow"
        ),
        other_names=("WEB_CONCURRENCY",),
        help="Number of gunicorn's worker processes.",
    )
    gunicorn_threads: int = setting(
        WholeNumber(4, 1000),
        group=CAPACITY,
        default=Computed(lambda: 0, "enough for all requests that may wait"),  # gunicorn.conf.py counts them
        help="Threads of each process. Fewer than can wait for the limits below get a warning.",
    )
    db_pool_size: int = setting(
        WholeNumber(1, 100),
        group=CAPACITY,
        default=capacity.POOL_SIZE,
        help="Connections to PostgreSQL that each process may hold; one more is kept for `/health`. The"
        " default is smaller if there are so many workers that PostgreSQL's 100 connections would not"
        " suffice.",
    )
    hash_slots: int = setting(
        WholeNumber(1, 64),
        group=CAPACITY,
        default=Computed(
            lambda: capacity.available_cpus(), "the cores, or the share of them that a container has"
        ),
        help="Password hashes that all processes together compute at once.",
    )
    hash_queue: int = setting(
        WholeNumber(0, 1000),
        group=CAPACITY,
        default=32,
        help="Requests of a process that may wait for a hash slot, half of one address; more get 503 `busy`.",
    )
    doubts: tuple[str, ...] = ()  # a sentence for each variable that is set, but ignored

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Return the settings that `environ` describes; an empty value counts as unset.

        Raises ConfigError with every bad variable, not only the first.
        """
        known = declarations.declarations(cls)
        doubts = (*environment.slips(environ, known, FOREIGN_WORDS), *declarations.unused(cls, environ))
        values, problems = declarations.read(cls, environ)
        if problems:
            raise ConfigError(problems, doubts)
        if values.get("debug"):
            values["log_level"] = "DEBUG"
        workers = values.setdefault(
            "gunicorn_workers", capacity.workers(values.get("db_pool_size", capacity.POOL_SIZE))
        )
        values.setdefault("db_pool_size", capacity.pool_size(workers))
        return cls(**values, doubts=doubts)


def read_environment(directory: Path | None = None) -> dict[str, str]:
    """Return the service's variables of the process environment over all of the `.env` in `directory`.

    directory: that of config.py if None. Variables without a value are left out. Raises ConfigError.
    """
    path = (directory or Path(__file__).parent) / ".env"
    return environment.read(path, declarations.declarations(Settings))
