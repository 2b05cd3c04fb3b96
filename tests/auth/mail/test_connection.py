"""The deadline of a connection to a mail server, however slow the server is, and what ends before it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from auth.mail import connection as connection_module
from auth.mail import smtp
from auth.mail.connection import MAX_RECEIVED_BYTES, Connection
from tests.support.mail_delivery import deliver, refusal
from tests.support.mail_server import MailServer
from tests.support.tcp_proxy import silent

Serve = Callable[..., MailServer]
SECONDS = 0.3
LATE = SECONDS + 0.5  # a slow machine included


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@pytest.mark.parametrize("tls", ["", "starttls", "implicit"])
def test_byte_now_and_then_does_not_renew_the_deadline(serve: Serve, tls: str) -> None:
    server = serve(tls=tls)
    server.seconds_a_byte = 0.02

    with no_longer_than(LATE):
        error = refusal(server, seconds=SECONDS)

    assert str(error) == "the mail server is silent or too slow"
    assert (error.is_permanent, error.speaks_of_server) == (False, True)


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "MESSAGE"])
def test_silence_ends_at_the_deadline(serve: Serve, stage: str) -> None:
    server = serve(tls="starttls", login=("streamly", "secret"))
    server.silent_at = stage

    with no_longer_than(LATE):
        error = refusal(server, seconds=SECONDS)

    assert str(error) == "the mail server is silent or too slow"
    assert not error.is_permanent
    assert error.speaks_of_server is (stage not in ("RCPT", "DATA", "MESSAGE"))


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_server_that_never_speaks(scheme: str) -> None:
    with silent() as port, no_longer_than(LATE):
        error = refusal(f"{scheme}://localhost:{port}", seconds=SECONDS)

    assert str(error) == "the mail server is silent or too slow"


def test_server_that_never_reads() -> None:
    with silent() as port, no_longer_than(LATE):
        connection = Connection("127.0.0.1", port, SECONDS)
        with pytest.raises(TimeoutError):
            connection.send(b"x" * 50_000_000)
        connection.leave()


def test_mail_without_time_for_its_reply_is_not_sent(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "DATA_SHARE", 0.99)
    server.delays["DATA"] = 0.1

    error = refusal(server, seconds=5)

    assert str(error) == "the mail server is silent or too slow"
    assert server.commands[-1] == "DATA"
    assert server.messages == []


def test_silence_after_the_acceptance_costs_no_more_than_a_bounded_pause(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "QUIT_SECONDS", 0.1)
    server.silent_at = "QUIT"

    with no_longer_than(0.8):
        deliver(server)

    assert len(server.messages) == 1


def test_silence_after_a_refusal_costs_no_more_than_a_bounded_pause(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "QUIT_SECONDS", 0.1)
    server.silent_at = "QUIT"
    server.replies["RCPT"] = "550 no"

    with no_longer_than(0.8):
        error = refusal(server)

    assert error.is_permanent


def test_endless_reply_is_cut(server: MailServer) -> None:
    server.replies["EHLO"] = "250-x\r\n" * (MAX_RECEIVED_BYTES // 7) + "250 x"

    error = refusal(server)

    assert str(error) == "the mail server closed the connection"
    assert error.speaks_of_server


def test_line_without_end_is_cut(server: MailServer) -> None:
    server.replies["RCPT"] = "550 " + "x" * 20_000

    error = refusal(server)

    assert str(error) == "the mail server does not speak SMTP"
    assert not error.is_permanent


def test_next_address_is_tried(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["127.0.0.9", "127.0.0.1"])  # the server listens on the second one

    deliver(server)

    assert len(server.messages) == 1


def test_addresses_share_the_time(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["192.0.2.1", "192.0.2.2", "127.0.0.1"])
    connect = socket.socket.connect

    def connect_or_wait(sock: socket.socket, address: tuple[str, int]) -> None:
        if address[0] != "127.0.0.1":  # no answer, as from behind a firewall that drops packets
            time.sleep(sock.gettimeout() or 60)
            raise TimeoutError
        connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", connect_or_wait)

    deliver(server, seconds=0.6)

    assert len(server.messages) == 1


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("smtp://127.0.0.1:1", "the mail server cannot be reached: Connection refused"),
    ],
)
def test_server_that_is_not_there(url: str, text: str) -> None:
    error = refusal(url)

    assert str(error) == text
    assert (error.is_permanent, error.speaks_of_server) == (False, True)


def test_delivery_asks_the_dns_for_the_server_alone(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("look-up without a deadline")

    monkeypatch.setattr(socket, "getfqdn", fail)
    monkeypatch.setattr(socket, "gethostbyname", fail)

    deliver(server)

    assert len(server.messages) == 1


def test_delivery_starts_no_thread(server: MailServer) -> None:
    threads = threading.enumerate()

    deliver(server)

    assert threading.enumerate() == threads


def test_client_with_an_ipv6_address_names_itself_by_it() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        connection = Connection("::1", listener.getsockname()[1], SECONDS)
        assert connection.local_hostname == "[IPv6:::1]"
        connection.close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    def getaddrinfo(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
