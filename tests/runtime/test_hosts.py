"""Connecting: which addresses a DB_URL names, in which order, and how long each of them may take."""

import socket
import time
from contextlib import closing
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn

import db
from db import Cursor, Database, DatabaseUnavailable
from runtime import hosts
from tests.support import tcp_proxy
from tests.support.queries import scalar
from tests.support.tcp_proxy import moved

ADDRESSES = {"db": ["10.0.0.1", "fd00::1"], "standby": ["10.0.0.2"]}


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        pytest.param("postgresql:///x", [{}], id="libpq's default"),
        pytest.param("postgresql://:5433/x", [{"port": "5433"}], id="port only"),
        pytest.param(
            "postgresql:///x?host=/run/a,/run/b", [{"host": "/run/a"}, {"host": "/run/b"}], id="sockets"
        ),
        pytest.param(
            "postgresql://db:5433/x",
            [
                {"host": "db", "hostaddr": "10.0.0.1", "port": "5433"},
                {"host": "db", "hostaddr": "fd00::1", "port": "5433"},
            ],
            id="every address of a name",
        ),
        pytest.param(
            "postgresql://standby,db:5433/x?hostaddr=10.9.9.1,10.9.9.2",
            [
                {"host": "standby", "hostaddr": "10.9.9.1"},
                {"host": "db", "hostaddr": "10.9.9.2", "port": "5433"},
            ],
            id="addresses in the URL",
        ),
        pytest.param(
            "postgresql://gone,standby/x", [{"host": "standby", "hostaddr": "10.0.0.2"}], id="unknown name"
        ),
        pytest.param(
            "postgresql:///x?host=a,b,c&port=1,2", [{"host": "a,b,c", "port": "1,2"}], id="libpq refuses it"
        ),
        pytest.param(
            "postgresql:///x?host=/a,/b&target_session_attrs=read-write",
            [
                {"host": "/a", "target_session_attrs": "read-write"},
                {"host": "/b", "target_session_attrs": "read-write"},
            ],
            id="what a server must be",
        ),
        pytest.param(
            "postgresql:///x?host=/a,/b&target_session_attrs=prefer-standby",
            [
                {"host": "/a", "target_session_attrs": "standby"},
                {"host": "/b", "target_session_attrs": "standby"},
                {"host": "/a", "target_session_attrs": "any"},
                {"host": "/b", "target_session_attrs": "any"},
            ],
            id="what a server should be",
        ),
    ],
)
def test_candidates(url: str, addresses: list[dict[str, str]]) -> None:
    candidates = hosts.candidates(parse_dsn(url), lambda name: ADDRESSES.get(name, []))

    assert candidates == [{"dbname": "x"} | address for address in addresses]


@pytest.mark.slow
def test_silent_first_host_does_not_keep_from_the_second(url: str) -> None:
    with (
        tcp_proxy.before(url) as good,
        tcp_proxy.silent() as silent,
        closing(Database(moved(url, silent, good.port))) as database,
    ):
        assert database.write(scalar) == 1
        database.close()

        started = time.monotonic()
        assert database.write(scalar) == 1

    assert time.monotonic() - started < hosts.CONNECT_SECONDS  # the address that worked last is tried first


def test_silent_first_address_of_a_name_does_not_keep_from_the_second(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lookup(_host: str, port: object, **_: Any) -> list[Any]:
        return [(None, None, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(hosts, "CONNECT_SECONDS", 0.3)
    with tcp_proxy.before(url) as good, tcp_proxy.silent("127.0.0.2", good.port):
        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        with closing(Database(moved(url, good.port, host="db.example"))) as database:
            assert database.read(scalar) == 1
            assert database.read(lambda cur: cur.connection.info.host) == "db.example"


def test_connect_timeout_of_the_url_goes_first(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "OPERATION_SECONDS", 30.0)
    with tcp_proxy.silent() as silent:
        database = Database(moved(url, silent, connect_timeout="1"))

        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match=r"127.0.0.1 port [0-9]+: .* in time"):
            database.read(scalar)

    assert time.monotonic() - started < 10


def test_failure_names_the_cause_at_every_address(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DatabaseUnavailable, match=r"cannot connect: .*refused.*; .*refused"):
        Database(moved(url, port, port)).read(scalar)
    with pytest.raises(DatabaseUnavailable, match="no host of DB_URL has an address"):
        Database(moved(url, port, host="nowhere.invalid")).read(scalar)


def test_connections_are_kept_alive_unless_the_url_says_otherwise(url: str) -> None:
    def options(database: Database) -> tuple[int, int]:
        def ask(cur: Cursor) -> tuple[int, int]:
            with socket.socket(fileno=socket.dup(cur.connection.fileno())) as tcp:
                return (
                    tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                    tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                )

        with closing(database):
            return database.read(ask)

    with tcp_proxy.before(url) as proxy:
        assert options(Database(moved(url, proxy.port))) == (30, 20_000)
        assert options(Database(moved(url, proxy.port, keepalives_idle="7", tcp_user_timeout="0"))) == (7, 0)
