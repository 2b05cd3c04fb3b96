"""Connecting to PostgreSQL: every host and address of DB_URL gets its turn, every session its settings."""

import random
import socket
from collections.abc import Callable, Iterator, Mapping

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from runtime.connection import Connection, LocalCursor, seconds_left, within
from runtime.faults import DatabaseUnavailable, one_line

CONNECT_SECONDS = 2.0  # at most, while there is another address to try
# libpq's own keepalive comes after two hours. Unix sockets have none.
DEFAULTS = {
    "fallback_application_name": "user-service",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",  # milliseconds
}

_PLACE = ("host", "hostaddr", "port")

# What we rely on, whatever the database or the role says. Sent after connecting and not as `options`, which
# PgBouncer refuses. As PostgreSQL spells it: a parameter that has its value already is not set.
SESSION = {
    "timezone": "UTC",
    "default_transaction_isolation": "read committed",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "10s",
}
# A pooler, which is there if libpq was told of another backend, may lend the session to others, too. There
# only the time zone is set for the session: PgBouncer keeps that for each client.
_SET = """
    SELECT name, pooled, set_config(name, value, pooled AND name <> 'timezone')
    FROM unnest(%(names)s, %(values)s) AS wanted (name, value),
         (SELECT pg_backend_pid() <> %(pid)s) AS session (pooled)
    WHERE current_setting(name) <> value
"""


class Hosts:
    """The servers that DB_URL names; the address that let us in last is tried first."""

    def __init__(self, url: str, *, statement_seconds: float) -> None:
        self._given = DEFAULTS | parse_dsn(url) | {"client_encoding": "UTF8"}
        self._last_good: dict[str, str] | None = None
        self._session = SESSION | {"statement_timeout": f"{statement_seconds:g}s"}

    def connect(self) -> Connection:
        """Return a connection to the first server that lets us in, before the thread's deadline.

        libpq's own connect_timeout does not run where Python waits, and a silent server would keep it
        from the next one. Raises DatabaseUnavailable.
        """
        places = candidates(self._given, _resolve)
        if self._given.get("load_balance_hosts") == "random":
            random.shuffle(places)
        else:
            places.sort(key=lambda place: place != self._last_good)
        failures: list[str] = []
        for later, place in zip(reversed(range(len(places))), places, strict=True):
            if conn := self._attempt(place, self._share(later), failures):
                self._last_good = place
                return conn
        raise DatabaseUnavailable(
            f"cannot connect: {'; '.join(failures) or 'no host of DB_URL has an address'}"
        )

    def _attempt(self, place: dict[str, str], seconds: float, failures: list[str]) -> Connection | None:
        try:
            with within(seconds):
                return self._open(place)
        except psycopg2.Error as exc:
            failures.append(f"{_address(place)}: {one_line(exc)}")
        except DatabaseUnavailable as exc:
            failures.append(f"{_address(place)}: {exc}")
        return None

    def _share(self, later: int) -> float:
        """Return how long an address may take that so many others come after."""
        share = min(seconds_left() / (later + 1), CONNECT_SECONDS) if later else seconds_left()
        timeout = self._given.get("connect_timeout", "")
        return min(share, int(timeout)) if timeout.isdecimal() and int(timeout) else share

    def _open(self, place: dict[str, str]) -> Connection:
        conn = psycopg2.connect(make_dsn(**place), connection_factory=Connection)
        try:
            self._set(conn)
        except BaseException:
            conn.close()
            raise
        return conn

    def _set(self, conn: Connection) -> None:
        """Give a session its settings; one that a pooler lends gets them with each transaction."""
        names, values = list(self._session), list(self._session.values())
        with conn.cursor() as cur:
            cur.execute(_SET, {"names": names, "values": values, "pid": conn.info.backend_pid})
            local = [name for name, pooled, _ in cur if pooled and name != "timezone"]
        if local:
            conn.cursor_factory = LocalCursor
            conn.local_settings = "".join(
                f"SET LOCAL {name.removeprefix('default_')} = '{self._session[name]}'; " for name in local
            )


def _address(place: Mapping[str, str]) -> str:
    host = place.get("hostaddr") or place.get("host") or "the default host"
    return f"{host} port {place['port']}" if "port" in place else host


def candidates(given: Mapping[str, str], resolve: Callable[[str], list[str]]) -> list[dict[str, str]]:
    """Return the connection parameters of each address that `given` names, in its order.

    resolve: the addresses of a host name, if it has any. The name stays beside its address: TLS checks it.
    """
    places = [dict(place) for place in _places(given, resolve)]
    if given.get("target_session_attrs") == "prefer-standby":  # which libpq decides over all hosts
        key = "target_session_attrs"
        return [place | {key: "standby"} for place in places] + [place | {key: "any"} for place in places]
    return places


def _places(given: Mapping[str, str], resolve: Callable[[str], list[str]]) -> Iterator[dict[str, str]]:
    lists = [given.get(key, "").split(",") for key in _PLACE]
    count = max(map(len, lists))
    lists = [values * count if len(values) == 1 else values for values in lists]
    if len({len(values) for values in lists}) > 1:  # libpq says what is wrong
        yield dict(given)
        return
    others = {key: value for key, value in given.items() if key not in _PLACE}
    for host, address, port in zip(*lists, strict=True):
        is_name = host and not address and not host.startswith(("/", "@"))  # else a Unix socket
        for found in resolve(host) if is_name else [address]:
            place = zip(_PLACE, (host, found, port), strict=True)
            yield others | {key: value for key, value in place if value}


def _resolve(host: str) -> list[str]:
    """Return the addresses of a host name, each once, none when it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
