"""The client's address of a request, and the addresses on which the service listens."""

import socket
from typing import Any

import pytest

from runtime import addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        (" 1.2.3.4 ", "1.2.3.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
        ("::ffff:102:304", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::1"),
        ("", ""),
        ("unknown", ""),
        ("_hidden", ""),
        ("1.2.3.4:port", ""),
        ("1.2.3", ""),
        ("[1.2.3.4", ""),
        ("<script>", ""),
    ],
)
def test_address_of_a_client(text: str, address: str) -> None:
    assert addresses.of_client(text) == address


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:DB8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("[2001:db8:0:1::1]:443", "2001:db8:0:1::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:1:1:1:1:1:1", "2001:db8:1:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
        ("::ffff:102:304", "1.2.3.4"),
        ("", ""),
        ("unknown", ""),
        ("2001:db8::/64", ""),
        ("[1.2.3.4", ""),
    ],
)
def test_network_of_a_client(text: str, network: str) -> None:
    assert addresses.network(text) == network


def test_service_listens_on_both_versions_of_ip() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this kernel has no IPv6")

    assert addresses.to_listen_on(8080) == ["[::]:8080"]


def test_service_listens_on_ipv4_where_the_kernel_has_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> socket.socket:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)

    assert addresses.to_listen_on(8080) == ["0.0.0.0:8080"]


def test_service_listens_twice_where_a_socket_has_ipv6_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class IPv6OnlySocket(socket.socket):
        def getsockopt(self, *_: Any) -> int:  # type: ignore[override]
            return 1

    monkeypatch.setattr(socket, "socket", IPv6OnlySocket)

    assert addresses.to_listen_on(8080) == ["[::]:8080", "0.0.0.0:8080"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_port_in_use_is_one_sentence(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(addresses, "MAX_PORT_WAIT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(SystemExit, match=f"Port {port} cannot be used \\(Address already in use\\)"):
            addresses.require_free([(host, port)])


def test_port_that_is_free_is_not_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    addresses.require_free([("0.0.0.0", port), "unix:/run/service.sock", 3])
    socket.create_server(("127.0.0.1", port)).close()
