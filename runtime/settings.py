"""The kinds of values that a setting may have: each turns a text into one, or raises what it must be.

No message repeats the text, for it may be a secret, or a password in the wrong place.
"""

import re
from collections.abc import Callable
from ipaddress import IPv6Address

import psycopg2
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError
from psycopg2.extensions import parse_dsn

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_AROUND = "\ufeff\u200b \t\r\n\v\f\u00a0"  # a byte order mark, what a secret's file ends with, pasted blanks
_SWITCH = {"1": True, "true": True, "yes": True, "on": True}
_SWITCH |= {"0": False, "false": False, "no": False, "off": False}
_DB_URL_RULE = (
    "must be a PostgreSQL URL like postgresql://user:password@host:5432/database, with special characters in"
    " the password percent-encoded, as this does: python3 -c 'from getpass import getpass; from urllib.parse"
    """ import quote; print(quote(getpass(), safe=""))'"""
)
_SSL_MODES = ("", "disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSL_MODE_RULE = (
    "must have an sslmode that libpq knows: disable, allow, prefer, require, verify-ca or verify-full; what"
    " others call no-verify is require"
)
_FOR_OTHER_TOOLS = {  # what they add to the URL, and libpq refuses
    r"postgres(ql)?\+": "must begin with postgresql:// alone: leave out the + and the driver behind it",
    r".*[?&]schema=": "must do without schema=: ALTER ROLE ... SET search_path does that for every tool",
    r".*[?&](pgbouncer|connection_limit|pool_timeout|statement_cache_size)=": (
        "must do without pgbouncer=, connection_limit= and what else Prisma adds: DB_POOL_SIZE is the limit"
    ),
}
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::([0-9]{1,5}))?")
_ORIGIN_RULE = (
    "must be a comma-separated list of bare origins like https://app.example.com, an international host in"
    " punycode if need be"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNLIKE_BROWSERS = re.compile("[\u00df\u03c2\u200c\u200d]")  # Python's codec for host names changes these


def bare(raw: str) -> str:
    """Return `raw` without blanks, line ends, a byte order mark or a pair of quotes around it."""
    text = raw.strip(_AROUND)
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1].strip(_AROUND) if quoted else text


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return what reads a number from `low` to `high`."""

    def parse(raw: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", raw) or not low <= int(raw) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(raw)

    return parse


def switch(raw: str) -> bool:
    if raw.lower() not in _SWITCH:
        raise ValueError("must be 1 or 0, true or false, yes or no, on or off")
    return _SWITCH[raw.lower()]


def log_level(raw: str) -> str:
    if raw.upper() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return raw.upper()


def db_url(raw: str) -> str:
    """Return a URL that libpq can read. What libpq would misread and then quote in an error is refused."""
    try:
        parsed = parse_dsn(raw) if raw.startswith(("postgresql://", "postgres://")) else None
    except (psycopg2.ProgrammingError, UnicodeEncodeError):
        parsed = None
    # Not in the "except", nor with a cause: the driver's text quotes parts of the URL.
    if parsed is None or _is_misread(raw) or not _are_ports(parsed.get("port", "")):
        hints = (hint for pattern, hint in _FOR_OTHER_TOOLS.items() if re.match(pattern, raw, re.DOTALL))
        raise ValueError(next(hints, _DB_URL_RULE))
    if parsed.get("sslmode", "") not in _SSL_MODES:
        raise ValueError(_SSL_MODE_RULE)
    return raw


def _is_misread(url: str) -> bool:
    """Return whether a part of the password is taken for a host or a database.

    To libpq the first @ ends the password, unless a / comes before it.
    """
    rest = url.partition("://")[2]
    behind_password = re.sub(r"^[^@/]*@", "", rest)
    return "@" in behind_password.partition("?")[0]


def _are_ports(listed: str) -> bool:
    """Return whether `listed`, which has a place for each host, names ports."""
    return all(
        re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535 for port in listed.split(",") if port
    )


def secret_key(raw: str) -> str:
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(raw)
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8 text") from None
    except InvalidKeyError:
        raise ValueError("must be a random string, not a PEM, SSH or JWK key") from None
    return raw


def cors_origins(raw: str) -> tuple[str, ...]:
    """Return origins as browsers write them."""
    origins = tuple(_origin(origin.strip()) for origin in raw.split(",") if origin.strip())
    if not origins:
        raise ValueError(_ORIGIN_RULE)
    return origins


def _origin(text: str) -> str:
    parts = _ORIGIN.fullmatch(text)
    port = int(parts[3] or 0) if parts else 0
    if not parts or port > 65535 or _UNLIKE_BROWSERS.search(text):
        raise ValueError(_ORIGIN_RULE)
    scheme = parts[1].lower()
    shown = "" if port in (0, _DEFAULT_PORTS.get(scheme)) else f":{port}"
    return f"{scheme}://{_host(parts[2].lower())}{shown}"


def _host(text: str) -> str:
    """Return a host in lower case as browsers write it: IPv6 in its short form, other scripts in punycode."""
    try:
        if text.startswith("["):
            return f"[{IPv6Address(text[1:-1])}]"
        return text if text.isascii() else text.encode("idna").decode("ascii")
    except ValueError:
        raise ValueError(_ORIGIN_RULE) from None
