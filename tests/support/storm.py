"""A storm of logins: many connections, each of which logs in again as soon as it is answered."""

import selectors
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.guessing import login_request
from tests.support.service import Service

READ_BYTES = 65536


class _Connection:
    """A client that sends the same request again and again, from the address `address`."""

    def __init__(self, service: Service, address: str) -> None:
        self.port = service.port
        self.request = login_request("nobody", address)
        self.received = b""
        self.open()

    def open(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def send(self) -> None:
        self.received = b""
        self.sock.sendall(self.request)

    def read_status(self) -> int | None:
        """Read what is here. Return the status of an answer that is whole, None before that."""
        received = self.sock.recv(READ_BYTES)
        if not received:
            raise ConnectionError("the service closed a connection of the storm")
        self.received += received
        head, _, body = self.received.partition(b"\r\n\r\n")
        _, found, length = head.lower().partition(b"content-length: ")
        if not found or len(body) < int(length.split(b"\r\n")[0]):
            return None
        return int(head[9:12])


def _rage(connections: list[_Connection], stop: threading.Event, statuses: Counter[int]) -> None:
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.sock, selectors.EVENT_READ, connection)
            connection.send()
        while not stop.is_set():
            for key, _ in selector.select(0.1):
                try:
                    if status := key.data.read_status():
                        statuses[status] += 1
                        key.data.send()
                except OSError:  # the service may close a connection; the others go on
                    selector.unregister(key.fileobj)


@contextmanager
def storm(service: Service, count: int, address_of: Callable[[int], str]) -> Iterator[Counter[int]]:
    """Have `count` connections log in as an unknown user until the block ends.

    address_of: the client's address of the connection with that number. Yields how many answers had which
    status so far. The service trusts one proxy, which is this storm.
    """
    connections = [_Connection(service, address_of(number)) for number in range(count)]
    stop, statuses = threading.Event(), Counter[int]()
    thread = threading.Thread(target=_rage, args=(connections, stop, statuses))
    thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        thread.join()
        for connection in connections:
            connection.sock.close()
