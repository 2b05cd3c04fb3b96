"""A real SMTP server in the test process, which a test tells how to answer.

    with mail_server.running() as server:
        server.replies["RCPT"] = "550 no such user"

`replies`, `delays`, `closes_at` and `silent_at` name stages: CONNECT (the greeting), EHLO,
STARTTLS, AUTH, MAIL, RCPT, DATA, MESSAGE (the reply to the message itself) and QUIT.
"""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from typing import Any
from urllib.parse import quote

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support import ROOT

AUTHORITY = ROOT / "tests/support/certificates/authority.pem"  # trusted where SSL_CERT_FILE names it
CERTIFICATE = ROOT / "tests/support/certificates/localhost.pem"  # of localhost, not of 127.0.0.1


@dataclass(frozen=True)
class Received:
    """A mail that the server accepted. login: who sent it, "" without a login."""

    sender: str
    recipients: list[str]
    options: list[str]
    content: bytes
    login: str
    is_encrypted: bool

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=SMTP_POLICY)


class MailServer:
    """A server on a port of 127.0.0.1. `running` starts it; every attribute may change meanwhile.

    messages: what was accepted. commands: what came in, one "STAGE argument" each. connections: how many.
    """

    def __init__(self, *, tls: str = "", login: tuple[str, str] | None = None, is_utf8: bool = True) -> None:
        self.tls = tls
        self.login = login
        self.is_utf8 = is_utf8
        self.messages: list[Received] = []
        self.commands: list[str] = []
        self.connections = 0
        self.replies: dict[str, str] = {}
        self.closes_at = ""
        self.silent_at = ""
        self.delays: dict[str, float] = {}  # seconds before the reply, by stage
        self.seconds_a_byte = 0.0
        self.after_starttls = b""  # sent in plain text behind the reply to STARTTLS
        self.auth_methods = ["PLAIN", "LOGIN"]
        self.port = 0

    @property
    def url(self) -> str:
        """The value of SMTP_URL for this server."""
        scheme, query = (
            ("smtps", "") if self.tls == "implicit" else ("smtp", "?tls=required" if self.tls else "")
        )
        user = ":".join(quote(part, safe="") for part in self.login) + "@" if self.login else ""
        return f"{scheme}://{user}localhost:{self.port}{query}"


class _Protocol(SMTP):
    """One connection."""

    def __init__(self, server: MailServer, tls: ssl.SSLContext) -> None:
        super().__init__(
            _Handler(server),
            hostname="mail.test",
            enable_SMTPUTF8=server.is_utf8,
            tls_context=tls if server.tls == "starttls" else None,
            auth_require_tls=server.tls == "starttls",
            auth_exclude_mechanism={"PLAIN", "LOGIN"} - set(server.auth_methods),
            authenticator=self._check_login,
            loop=asyncio.get_running_loop(),
        )
        self._auth_required = server.login is not None  # as a parameter it warns of missing TLS
        self._behaviour = server
        self._stage = "CONNECT"
        self._smtp_methods = {
            name: self._programmed(name, method) for name, method in self._smtp_methods.items()
        }
        server.connections += 1

    def _programmed(
        self, stage: str, method: Callable[[str | None], Awaitable[None]]
    ) -> Callable[[str | None], Awaitable[None]]:
        async def answer(argument: str | None) -> None:
            self._stage = stage
            self._behaviour.commands.append(f"{stage} {argument or ''}".rstrip())
            if reply := self._behaviour.replies.get(stage):
                await self.push(reply)
            else:
                await method(argument)

        return answer

    def _check_login(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _method: str, data: Any
    ) -> Any:
        expected = self._behaviour.login
        assert isinstance(data, LoginPassword)
        is_right = expected is not None and data == LoginPassword(*(part.encode() for part in expected))
        return AuthResult(success=is_right, handled=False, auth_data=data if is_right else None)

    def is_encrypted(self) -> bool:
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is not None

    def connection_lost(self, error: Exception | None) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()  # Python 3.10 leaves the transport of STARTTLS open
        super().connection_lost(error)

    async def push(self, status: str | bytes) -> None:
        server, stage = self._behaviour, self._stage
        if stage == server.silent_at:
            await asyncio.Event().wait()
        await asyncio.sleep(server.delays.get(stage, 0))
        if stage == server.closes_at:
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.abort()
            return
        if stage == "CONNECT":
            status = server.replies.get(stage, status)
        line = (status.encode() if isinstance(status, str) else status) + b"\r\n"
        if stage == "STARTTLS":
            line += server.after_starttls
        if stage == "DATA" and line.startswith(b"3"):
            self._stage = "MESSAGE"
        step = 1 if server.seconds_a_byte else len(line)
        for start in range(0, len(line), step):
            self._writer.write(line[start : start + step])
            await self._writer.drain()
            await asyncio.sleep(server.seconds_a_byte)


class _Handler:
    """Notes what was accepted."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def handle_DATA(self, protocol: _Protocol, session: Session, envelope: Envelope) -> str:  # noqa: N802
        status = self._server.replies.get("MESSAGE", "250 accepted")
        if status.startswith("2") and "MESSAGE" not in (self._server.closes_at, self._server.silent_at):
            login = session.auth_data.login.decode() if session.auth_data else ""
            assert isinstance(envelope.content, bytes)
            self._server.messages.append(
                Received(
                    sender=envelope.mail_from or "",
                    recipients=list(envelope.rcpt_tos),
                    options=list(envelope.mail_options),
                    content=envelope.content,
                    login=login,
                    is_encrypted=protocol.is_encrypted(),
                )
            )
        return status


@contextmanager
def running(
    *, tls: str = "", login: tuple[str, str] | None = None, is_utf8: bool = True
) -> Iterator[MailServer]:
    """Run a server until the block ends. tls: "" for none, "starttls", which is required, or "implicit"."""
    logging.getLogger("mail.log").setLevel(
        logging.CRITICAL
    )  # aiosmtpd's: lines of a mail would be in our logs
    server = MailServer(tls=tls, login=login, is_utf8=is_utf8)
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = int(listener.getsockname()[1])
        thread = threading.Thread(target=loop.run_until_complete, args=[_serve(server, listener, stopping)])
        thread.start()
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join()
            loop.close()


async def _serve(server: MailServer, listener: socket.socket, stopping: asyncio.Event) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    protocols: list[_Protocol] = []

    def connect() -> _Protocol:
        protocols.append(_Protocol(server, context))
        return protocols[-1]

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # clients go away in the middle of everything
    listening = await loop.create_server(
        connect, sock=listener.dup(), ssl=context if server.tls == "implicit" else None
    )
    await stopping.wait()
    listening.close()
    for protocol in protocols:
        for transport in (protocol.transport, protocol._original_transport):
            if isinstance(transport, asyncio.Transport):
                transport.abort()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)
