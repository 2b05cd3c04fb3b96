"""Mail on a hostile network: TLS that is taken away or faked, replies from strangers, secrets in errors."""

import logging
import traceback
from base64 import b64encode
from collections.abc import Callable

import pytest

from tests.support.mail_delivery import deliver, refusal
from tests.support.mail_server import MailServer

Serve = Callable[..., MailServer]
USERNAME, PASSWORD = "streamly", "hunter2-\u00e4"


def test_server_without_starttls_gets_neither_login_nor_mail(serve: Serve) -> None:
    server = serve(login=(USERNAME, PASSWORD))  # it offers AUTH in plain text

    error = refusal(f"{server.url}?tls=required")

    assert "STARTTLS" in str(error)
    assert (error.is_permanent, error.speaks_of_server) == (False, True)
    assert server.commands == ["EHLO [127.0.0.1]", "QUIT"]


def test_server_that_refuses_starttls_gets_neither_login_nor_mail(serve: Serve) -> None:
    server = serve(tls="starttls", login=(USERNAME, PASSWORD))
    server.replies["STARTTLS"] = "454 not now"

    refusal(server)

    assert server.commands == ["EHLO [127.0.0.1]", "STARTTLS", "QUIT"]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_certificate_of_an_unknown_authority_is_refused(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tls: str
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    server = serve(tls=tls, login=(USERNAME, PASSWORD))

    error = refusal(server)

    assert "certificate of the mail server is refused: unable to get local issuer" in str(error)
    assert (error.is_permanent, error.speaks_of_server) == (False, True)
    assert not [command for command in server.commands if command.startswith("AUTH")]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_certificate_of_another_host_is_refused(serve: Serve, tls: str) -> None:
    server = serve(tls=tls)

    error = refusal(server.url.replace("localhost", "127.0.0.1"))

    assert "certificate of the mail server is refused: IP address mismatch" in str(error)


def test_server_without_tls_at_a_port_for_tls(serve: Serve) -> None:
    error = refusal(serve().url.replace("smtp:", "smtps:"))

    assert str(error).startswith("TLS with the mail server failed: ")
    assert error.speaks_of_server


def test_replies_before_tls_are_dropped(serve: Serve) -> None:
    server = serve(tls="starttls", login=(USERNAME, PASSWORD))
    server.after_starttls = b"250-evil.test\r\n250 AUTH LOGIN\r\n535 evil\r\n"

    deliver(server)

    assert len(server.messages) == 1
    assert f"AUTH PLAIN {encoded(chr(0) + USERNAME + chr(0) + PASSWORD)}" in server.commands


def test_server_without_a_known_login_is_refused(serve: Serve) -> None:
    server = serve(tls="starttls", login=(USERNAME, PASSWORD))
    server.auth_methods = []

    error = refusal(server)

    assert str(error) == "the mail server offers neither AUTH PLAIN nor AUTH LOGIN"
    assert (error.is_permanent, error.speaks_of_server) == (False, True)
    assert [command.split()[0] for command in server.commands] == ["EHLO", "STARTTLS", "EHLO", "QUIT"]


@pytest.mark.parametrize("methods", [["PLAIN"], ["LOGIN"]])
@pytest.mark.parametrize("stage", ["AUTH", "RCPT", "MESSAGE"])
def test_error_repeats_no_secret(
    serve: Serve, caplog: pytest.LogCaptureFixture, methods: list[str], stage: str
) -> None:
    server = serve(tls="starttls", login=(USERNAME, PASSWORD))
    server.auth_methods = methods
    plain = encoded(f"\0{USERNAME}\0{PASSWORD}")
    server.replies[stage] = f"535 not {PASSWORD} or {encoded(PASSWORD)} or {plain}"
    caplog.set_level(logging.DEBUG)

    error = refusal(server)

    shown = "".join(traceback.format_exception(error)) + repr(error) + caplog.text
    assert f"{stage} with 535".removeprefix("MESSAGE ") in shown
    for secret in (PASSWORD, encoded(PASSWORD), plain):
        assert secret not in shown


def test_refused_login_does_not_repeat_the_username(serve: Serve) -> None:
    server = serve(login=(USERNAME, PASSWORD))
    server.replies["AUTH"] = f"535 {USERNAME} ({encoded(USERNAME)}): wrong password"

    assert str(refusal(server)).endswith("535: <username> (<username>): wrong password")


def test_wrong_password_is_tried_once(serve: Serve) -> None:
    server = serve(login=(USERNAME, PASSWORD))

    error = refusal(server.url.replace("hunter2", "hunter3"))

    assert (error.is_permanent, error.speaks_of_server) == (False, True)
    assert sum(command.startswith("AUTH") for command in server.commands) == 1


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
