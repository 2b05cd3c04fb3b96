"""A connection to a mail server that is over at its deadline, whatever the server does. Knows no login."""

import io
import smtplib
import socket
import ssl
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

QUIT_SECONDS = 1.0
MAX_RECEIVED_BYTES = 65536  # of all replies together; an endless reply would fill the memory
CONNECT_SHARE = 0.5  # of the time, for all addresses of the host together


class Connection(smtplib.SMTP):
    """The protocol of smtplib with one deadline for everything, from the look-up of the host to QUIT.

    A time-out of smtplib begins again with every read, so that a server that sends a byte a second would hold
    the caller for hours (slowloris). Here each operation on the socket gets the time that is left.
    Raises OSError, TimeoutError among them. Its subclass SMTPException says what smtplib noticed.
    """

    def __init__(self, host: str, port: int, seconds: float) -> None:
        super().__init__(local_hostname="")  # smtplib would ask the DNS for a name, without a time-out
        self._deadline = time.monotonic() + seconds
        self._received_bytes = 0
        self._host_name = host
        self.sock = self._connect(port, seconds * CONNECT_SHARE)
        self.local_hostname = _address_literal(self.sock.getsockname()[0])

    def seconds_left(self) -> float:
        return self._deadline - time.monotonic()

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Begin TLS, and drop everything that came in before.

        Whoever is between both ends could add replies to the one that precedes TLS (response injection).
        """
        sock = self._ready_socket()
        self.sock, self.file = None, None
        self.sock = context.wrap_socket(sock, server_hostname=self._host_name)

    def send(self, s: "ReadableBuffer | str") -> None:
        data = memoryview(s.encode() if isinstance(s, str) else s)
        while data:
            data = data[self._ready_socket().send(data) :]

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            self.file = io.BufferedReader(_Received(self))
        try:
            return super().getreply()
        except smtplib.SMTPServerDisconnected:  # smtplib says this of a time-out as well
            if self.seconds_left() <= 0:
                raise TimeoutError from None
            raise

    def receive_into(self, buffer: "WriteableBuffer") -> int:
        count = self._ready_socket().recv_into(buffer)
        self._received_bytes += count
        if self._received_bytes > MAX_RECEIVED_BYTES:
            raise OSError("endless reply")
        return count

    def leave(self) -> None:
        """Close the connection, with a QUIT before if the connection still works. Raises nothing."""
        self._deadline = min(self._deadline, time.monotonic() + QUIT_SECONDS)
        if self.sock is not None:
            with suppress(OSError):
                self.docmd("QUIT")
        self.close()

    def _connect(self, port: int, seconds: float) -> socket.socket:
        """Return a connection to the first address that answers. The addresses share the time evenly."""
        addresses = socket.getaddrinfo(self._host_name, port, type=socket.SOCK_STREAM)
        error: OSError = TimeoutError()
        for family, kind, protocol, _, address in addresses:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(max(min(self.seconds_left(), seconds / len(addresses)), 0.001))
                sock.connect(address)
                return sock
            except OSError as exc:
                sock.close()
                error = exc
        raise error

    def _ready_socket(self) -> socket.socket:
        """Return the socket. Its time-out is the time that is left."""
        seconds = self.seconds_left()
        if seconds <= 0:
            raise TimeoutError
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected
        self.sock.settimeout(seconds)
        return self.sock


class _Received(io.RawIOBase):
    """The bytes that a connection receives, as a file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return self._connection.receive_into(buffer)


def _address_literal(address: str) -> str:
    """Return an IP address as a client without a host name says EHLO with it (RFC 5321 section 4.1.3)."""
    ip = ip_address(address.partition("%")[0])
    return f"[IPv6:{ip}]" if ip.version == 6 else f"[{ip}]"
