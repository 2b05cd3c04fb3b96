"""Network addresses: the client's address of a request, and the addresses on which the service listens."""

import errno
import os
import re
import socket
import time
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

MAX_PORT_WAIT_SECONDS = 5.0  # until a process that is being replaced has closed its port

_WITH_PORT = re.compile(r"([0-9.]+):[0-9]+|\[([^\]]+)\](?::[0-9]+)?")


@lru_cache(maxsize=256)
def of_client(text: str) -> str:
    """Return the IP address in a REMOTE_ADDR or in an entry of X-Forwarded-For.

    Returns "" if the text is not an address. Some proxies add the port: 1.2.3.4:5678 or [2001:db8::1]:443. A
    socket for both versions of IP shows 1.2.3.4 as ::ffff:1.2.3.4.
    """
    parts = _WITH_PORT.fullmatch(text.strip())
    host = parts[1] or parts[2] if parts else text.strip()
    try:
        address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])  # % begins the zone of IPv6
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


@lru_cache(maxsize=256)
def network(text: str) -> str:
    """Return the network by which a limit counts clients: IPv4 in full, IPv6 by its /64.

    A provider gives every subscriber a /64, and a client there chooses a new address whenever it likes. text:
    as `of_client` accepts it. Returns "" if the text is not an address.
    """
    address = of_client(text)
    return str(IPv6Network((address, 64), strict=False)) if ":" in address else address


def to_listen_on(port: int) -> list[str]:
    """Return gunicorn's `bind` for every address of this machine: IPv4, and IPv6 if the kernel has it."""
    ipv4, ipv6 = f"0.0.0.0:{port}", f"[::]:{port}"
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
            is_ipv6_only = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return [ipv4]
    return [ipv6, ipv4] if is_ipv6_only else [ipv6]


def require_free(addresses: Iterable[object]) -> None:
    """Wait until the service can listen on every (host, port) of `addresses`.

    Other addresses, such as Unix sockets, are skipped. Raises SystemExit with a sentence if a port stays in
    use or may not be used. gunicorn itself would try five times and log the problem twice each time.
    """
    deadline = time.monotonic() + MAX_PORT_WAIT_SECONDS
    for address in addresses:
        while isinstance(address, tuple) and (error_number := _bind_error(address)):
            if error_number != errno.EADDRINUSE or time.monotonic() > deadline:
                reason = os.strerror(error_number)
                raise SystemExit(f"Port {address[1]} cannot be used ({reason}): choose another with PORT.")
            time.sleep(0.1)


def _bind_error(address: tuple[str, int]) -> int:
    """Return the error number of binding a socket to `address`, 0 if binding succeeds."""
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as exc:
            return exc.errno or errno.EINVAL
    return 0
