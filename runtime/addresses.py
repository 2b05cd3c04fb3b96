"""Network addresses: whom a request came from, and where the service listens."""

import errno
import os
import re
import socket
import time
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

PORT_SECONDS = 5.0  # for the service before this one to leave its port

_WITH_PORT = re.compile(r"([0-9.]+):[0-9]+|\[([^\]]+)\](?::[0-9]+)?")


@lru_cache(maxsize=256)
def of_client(text: str) -> str:
    """Return the IP address in a REMOTE_ADDR or an entry of X-Forwarded-For, "" if it is something else.

    Some proxies add the port, as 1.2.3.4:5678 or [2001:db8::1]:443. A socket for both versions of IP shows
    1.2.3.4 as ::ffff:1.2.3.4.
    """
    with_port = _WITH_PORT.fullmatch(text.strip())
    bare = with_port[1] or with_port[2] if with_port else text.strip()
    try:
        address: IPv4Address | IPv6Address | None = ip_address(bare.partition("%")[0])  # % begins a zone
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def to_listen_on(port: int) -> list[str]:
    """Return gunicorn's `bind` for every address of this machine: IPv4, and IPv6 where the kernel has it."""
    ipv4, ipv6 = f"0.0.0.0:{port}", f"[::]:{port}"
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
            alone = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return [ipv4]
    return [ipv6, ipv4] if alone else [ipv6]


def require_free(addresses: Iterable[object]) -> None:
    """Wait until all (host, port) of `addresses` can be listened on. Raises SystemExit with a sentence.

    gunicorn itself tries five times, and says the same twice each time.
    """
    until = time.monotonic() + PORT_SECONDS
    for address in addresses:
        while isinstance(address, tuple) and (problem := _problem(address)):
            if problem != errno.EADDRINUSE or time.monotonic() > until:
                raise SystemExit(
                    f"Port {address[1]} cannot be used ({os.strerror(problem)}): choose another with PORT."
                )
            time.sleep(0.1)


def _problem(address: tuple[str, int]) -> int:
    """Return the error number that keeps us from listening on `address`, 0 when nothing does."""
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as exc:
            return exc.errno or errno.EINVAL
    return 0
