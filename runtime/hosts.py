"""Connecting to PostgreSQL: every address that DB_URL names is tried, every session gets its settings."""

import random
import socket
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from runtime import deadline
from runtime.connection import Connection, LocalCursor
from runtime.faults import DatabaseUnavailable, one_line

CONNECT_SECONDS = 2.0  # for one address, while others are still to be tried
# Without these, libpq probes a silent connection only after two hours. Unix sockets ignore them.
DEFAULTS = {
    "fallback_application_name": "user-service",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",  # milliseconds
}

_ADDRESS_KEYS = ("host", "hostaddr", "port")

# The settings that the service relies on, whatever the database or the role has. They are sent after
# connecting, because PgBouncer refuses them as `options`. The values are spelled as PostgreSQL shows them: a
# parameter that has its value already is left alone.
SESSION = {
    "timezone": "UTC",
    "default_transaction_isolation": "read committed",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "10s",
}
# If the server's process id is not the one that libpq was told, a pooler stands between. A pooler may lend
# the session to other clients. So only the time zone is set for the session: PgBouncer keeps that for each
# client.
_SET_SESSION = """
    SELECT name, pooled, set_config(name, value, pooled AND name <> 'timezone')
    FROM unnest(%(names)s, %(values)s) AS wanted (name, value),
         (SELECT pg_backend_pid() <> %(pid)s) AS session (pooled)
    WHERE current_setting(name) <> value
"""


class Hosts:
    """The servers that DB_URL names. The address that worked last is tried first."""

    def __init__(self, url: str, *, statement_seconds: float) -> None:
        self._parameters = DEFAULTS | parse_dsn(url) | {"client_encoding": "UTF8"}
        self._last_good: dict[str, str] | None = None
        self._session = SESSION | {"statement_timeout": f"{statement_seconds:g}s"}

    def connect(self) -> Connection:
        """Return a connection to the first server that accepts one, before the thread's deadline.

        libpq itself would stay with a silent server and never try the next: its connect_timeout has no effect
        where Python does the waiting. Raises DatabaseUnavailable.
        """
        addresses = candidates(self._parameters, _resolve)
        if self._parameters.get("load_balance_hosts") == "random":
            random.shuffle(addresses)
        else:
            addresses.sort(key=lambda address: address != self._last_good)
        failures: list[str] = []
        for others_left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            if conn := self._attempt(address, self._share(others_left), failures):
                self._last_good = address
                return conn
        raise DatabaseUnavailable(
            f"cannot connect: {'; '.join(failures) or 'no host of DB_URL has an address'}"
        )

    def _attempt(self, address: dict[str, str], seconds: float, failures: list[str]) -> Connection | None:
        """Return a connection. Returns None, and adds the reason to `failures`, if there can be none."""
        try:
            with deadline.within(seconds):
                return self._open(address)
        except psycopg2.Error as exc:
            failures.append(f"{_spell(address)}: {one_line(exc)}")
        except DatabaseUnavailable as exc:
            failures.append(f"{_spell(address)}: {exc}")
        return None

    def _share(self, others_left: int) -> float:
        """Return how many seconds an address may take, if so many others are still to be tried."""
        seconds = deadline.seconds_left()
        share = min(seconds / (others_left + 1), CONNECT_SECONDS) if others_left else seconds
        timeout = self._parameters.get("connect_timeout", "")
        return min(share, int(timeout)) if timeout.isdecimal() and int(timeout) else share

    def _open(self, address: dict[str, str]) -> Connection:
        conn = psycopg2.connect(make_dsn(**address), connection_factory=Connection)
        try:
            self._set_session(conn)
        except BaseException:
            conn.close()
            raise
        return conn

    def _set_session(self, conn: Connection) -> None:
        """Give the session its settings. Behind a pooler they go with each transaction instead."""
        names, values = list(self._session), list(self._session.values())
        with conn.cursor() as cur:
            cur.execute(_SET_SESSION, {"names": names, "values": values, "pid": conn.info.backend_pid})
            local = [name for name, pooled, _ in cur if pooled and name != "timezone"]
        if local:
            conn.cursor_factory = LocalCursor
            conn.local_settings = "".join(
                f"SET LOCAL {name.removeprefix('default_')} = '{self._session[name]}'; " for name in local
            )


def leaves_encryption_open(url: str, environ: Mapping[str, str]) -> bool:
    """Return whether a URL names another machine, and neither the URL nor `environ` has an sslmode.

    libpq then goes on without TLS if the server, or somebody in between, refuses TLS (downgrade attack).
    Loopback addresses, localhost and Unix sockets are this machine; other names are not resolved.
    """
    parameters = parse_dsn(url)
    if parameters.get("sslmode") or environ.get("PGSSLMODE"):
        return False
    return not all(_is_this_machine(address) for address in candidates(parameters, lambda _: [""]))


def _is_this_machine(address: Mapping[str, str]) -> bool:
    host = address.get("hostaddr") or address.get("host", "")
    if not host or host.startswith(("/", "@")):  # a Unix socket
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _spell(address: Mapping[str, str]) -> str:
    host = address.get("hostaddr") or address.get("host") or "the default host"
    return f"{host} port {address['port']}" if "port" in address else host


def candidates(parameters: Mapping[str, str], resolve: Callable[[str], list[str]]) -> list[dict[str, str]]:
    """Return the connection parameters of each address that `parameters` name, in their order.

    resolve: returns the addresses of a host name. The name stays beside its address, because TLS checks it.
    """
    addresses = list(_addresses(parameters, resolve))
    # libpq decides prefer-standby over all hosts, but it gets one at a time: so standbys first, then any.
    if parameters.get("target_session_attrs") == "prefer-standby":
        key = "target_session_attrs"
        standbys = [address | {key: "standby"} for address in addresses]
        return standbys + [address | {key: "any"} for address in addresses]
    return addresses


def _addresses(
    parameters: Mapping[str, str], resolve: Callable[[str], list[str]]
) -> Iterator[dict[str, str]]:
    lists = [parameters.get(key, "").split(",") for key in _ADDRESS_KEYS]
    count = max(map(len, lists))
    lists = [values * count if len(values) == 1 else values for values in lists]
    if len({len(values) for values in lists}) > 1:  # the counts do not match; libpq says what is wrong
        yield dict(parameters)
        return
    others = {key: value for key, value in parameters.items() if key not in _ADDRESS_KEYS}
    for host, hostaddr, port in zip(*lists, strict=True):
        is_name = host and not hostaddr and not host.startswith(("/", "@"))  # / and @ begin a Unix socket
        for ip in resolve(host) if is_name else [hostaddr]:
            address = zip(_ADDRESS_KEYS, (host, ip, port), strict=True)
            yield others | {key: value for key, value in address if value}


def _resolve(host: str) -> list[str]:
    """Return the addresses of a host name, each once. Returns [] if the name has none."""
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in entries))
