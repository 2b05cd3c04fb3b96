"""The kinds of values that a setting may have.

Each kind is called with a text. It returns the value, or raises ValueError with the rule that the text
breaks. No rule repeats the text: the text may be a secret, or a password in the wrong place.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address

import psycopg2
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError
from psycopg2.extensions import parse_dsn

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# A byte order mark, the line end of a file that holds a secret, blanks that were pasted.
_SURROUNDINGS = "\ufeff\u200b \t\r\n\v\f\u00a0"
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
MAX_RATE_SECONDS = 31 * _UNIT_SECONDS["d"]
_RATE_RULE = (
    "must be a number from 1 to 999999 and a period of at most 31 days with its unit s, m, h or d, like"
    " 10/10m: 10 at once, refilled evenly over 10 minutes"
)
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
_RULES_FOR_OTHER_TOOLS = {  # they add parts to the URL that libpq refuses
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
# Browsers keep these characters in a host name; Python's codec for host names (IDNA 2003) changes them.
_UNLIKE_BROWSERS = re.compile("[\u00df\u03c2\u200c\u200d]")


def bare(raw: str) -> str:
    """Return `raw` without blanks, line ends, a byte order mark or a pair of quotes around it."""
    text = raw.strip(_SURROUNDINGS)
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1].strip(_SURROUNDINGS) if quoted else text


@dataclass(frozen=True)
class WholeNumber:
    """The kind of a number from `low` to `high`, in decimal ASCII digits."""

    low: int
    high: int

    def __call__(self, raw: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", raw) or not self.low <= int(raw) <= self.high:
            raise ValueError(f"must be a whole number from {self.low} to {self.high}")
        return int(raw)


def switch(raw: str) -> bool:
    if raw.lower() not in _SWITCH:
        raise ValueError("must be 1 or 0, true or false, yes or no, on or off")
    return _SWITCH[raw.lower()]


@dataclass(frozen=True)
class Rate:
    """A limit: `count` at once, which become available again evenly over `period`, such as 10m."""

    count: int
    period: str

    @property
    def seconds(self) -> int:
        return int(self.period[:-1]) * _UNIT_SECONDS[self.period[-1]]

    def __str__(self) -> str:
        return f"{self.count}/{self.period}"


def rate(raw: str) -> Rate:
    """Return the rate that a text like 10/10m describes."""
    parts = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,7}[smhd])", raw)
    value = Rate(int(parts[1]), parts[2]) if parts else None
    if not value or not value.count or not 0 < value.seconds <= MAX_RATE_SECONDS:
        raise ValueError(_RATE_RULE)
    return value


def log_level(raw: str) -> str:
    if raw.upper() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return raw.upper()


def db_url(raw: str) -> str:
    """Return a URL that libpq reads as it is meant.

    A URL that libpq misreads is refused: libpq would take a part of the password for a host or a port, and
    its error would quote that part in the log.
    """
    try:
        parsed = parse_dsn(raw) if raw.startswith(("postgresql://", "postgres://")) else None
    except (psycopg2.ProgrammingError, UnicodeEncodeError):
        parsed = None
    # Raised outside of "except", without a cause: the text of the driver's error quotes parts of the URL.
    if parsed is None or _is_misread(raw) or not _are_ports(parsed.get("port", "")):
        hints = (
            hint for pattern, hint in _RULES_FOR_OTHER_TOOLS.items() if re.match(pattern, raw, re.DOTALL)
        )
        raise ValueError(next(hints, _DB_URL_RULE))
    if parsed.get("sslmode", "") not in _SSL_MODES:
        raise ValueError(_SSL_MODE_RULE)
    return raw


def _is_misread(url: str) -> bool:
    """Return whether libpq takes a part of the password for a host or a database.

    For libpq the first @ ends the password, unless a / comes before it. A second @ was meant as the end.
    """
    rest = url.partition("://")[2]
    after_password = re.sub(r"^[^@/]*@", "", rest)
    return "@" in after_password.partition("?")[0]


def _are_ports(comma_separated: str) -> bool:
    """Return whether every entry of a comma-separated list is a port. An empty entry is the default port."""
    return all(
        re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535
        for port in comma_separated.split(",")
        if port
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
    """Return the origins of a comma-separated list as browsers write them in the header Origin."""
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
    suffix = (
        "" if port in (0, _DEFAULT_PORTS.get(scheme)) else f":{port}"
    )  # browsers leave the default port out
    return f"{scheme}://{_host(parts[2].lower())}{suffix}"


def _host(text: str) -> str:
    """Return a lower-case host as browsers write it: IPv6 in its short form, non-ASCII names in punycode."""
    try:
        if text.startswith("["):
            return f"[{IPv6Address(text[1:-1])}]"
        return text if text.isascii() else text.encode("idna").decode("ascii")
    except ValueError:
        raise ValueError(_ORIGIN_RULE) from None
