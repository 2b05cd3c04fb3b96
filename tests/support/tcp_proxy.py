"""A TCP proxy between the service and a PostgreSQL, which forgets connections as a NAT does."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg2.extensions import make_dsn, parse_dsn


class Proxy:
    """Forwards bytes between its clients and a server, and can forget every connection that it has."""

    def __init__(self, url: str, address: str) -> None:
        self._target = parse_dsn(url)
        self._listener = socket.create_server((address, 0))
        self.port = int(self._listener.getsockname()[1])
        self._peers: dict[socket.socket, socket.socket] = {}
        self._forgotten: list[socket.socket] = []
        self._stopped = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def forget(self) -> None:
        """Drop everything that comes on the present connections, without a FIN or an RST."""
        self._forgotten += self._peers
        self._peers = {}

    def stop(self) -> None:
        """Close every connection and stop to listen."""
        self._stopped = True
        self._thread.join()
        for end in [self._listener, *self._peers, *self._forgotten]:
            end.close()

    def _run(self) -> None:
        while not self._stopped:
            peers = self._peers
            for ready in select.select([self._listener, *peers], [], [], 0.02)[0]:
                if ready is self._listener:
                    self._accept()
                elif peers is self._peers:
                    self._forward(ready)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        host, port = self._target["host"], int(self._target.get("port", 5432))
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
        else:
            server = socket.create_connection((host, port))
        self._peers = self._peers | {client: server, server: client}

    def _forward(self, end: socket.socket) -> None:
        data = b""
        with suppress(OSError):
            data = end.recv(65536)
        if data:
            self._peers[end].sendall(data)
        elif end in self._peers:
            other = self._peers.pop(end)
            self._peers.pop(other)
            end.close()
            other.close()


@contextmanager
def before(url: str, address: str = "127.0.0.1") -> Iterator[Proxy]:
    """Run a proxy to the server of `url` until the block ends."""
    proxy = Proxy(url, address)
    try:
        yield proxy
    finally:
        proxy.stop()


@contextmanager
def silent(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Listen on a port where connections are accepted and never answered; yield the port."""
    with socket.create_server((address, port)) as listener:
        yield int(listener.getsockname()[1])


def moved(url: str, *ports: int, **parameters: str) -> str:
    """Return `url` as a DSN whose servers are `ports` of this machine, with further parameters of libpq."""
    addresses = {"host": ",".join(["127.0.0.1"] * len(ports)), "port": ",".join(map(str, ports))}
    return str(make_dsn(**parse_dsn(url) | addresses | parameters))
