"""The way of one mail to the mail server: one connection a mail. Knows no outbox and no kind of mail."""

import re
import smtplib
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP

from auth.mail.connection import Connection
from runtime.mail_settings import IMPLICIT_TLS, STARTTLS, SmtpServer

DELIVERY_SECONDS = 30.0
DATA_SHARE = 1 / 3  # of the time must be left when the message itself goes out
MAX_REPLY_CHARACTERS = 200

_LOGIN_REQUIRED = 530  # the operator can mend that
_NO_ADDRESS = "the recipient's address is no address that a mail can go to"
_NO_UTF8 = "the recipient's address is not ASCII, and the mail server does not offer SMTPUTF8"
_NO_STARTTLS = "the mail server does not offer STARTTLS"
_NO_LOGIN = "the mail server offers neither AUTH PLAIN nor AUTH LOGIN"
_NOTHING: Mapping[str, str] = {}
_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")


class MailError(Exception):
    """A mail was not sent, or nobody knows whether it was.

    The text is a short sentence for operators, on one line. It holds no secret and no recipient.
    is_permanent: the server refused this recipient or this message for good, so that no further try helps.
    speaks_of_server: every other mail would fail as well.
    """

    def __init__(self, text: str, *, is_permanent: bool = False, speaks_of_server: bool = False) -> None:
        super().__init__(text)
        self.is_permanent = is_permanent
        self.speaks_of_server = speaks_of_server


class Transport:
    """Delivers mails to one server.

    seconds: the deadline of a delivery. It includes the look-up of the host, which alone cannot be cut short.
    """

    def __init__(self, server: SmtpServer, *, seconds: float = DELIVERY_SECONDS) -> None:
        self._server = server
        self._seconds = seconds
        self._tls = ssl.create_default_context()

    def deliver(self, message: EmailMessage, *, recipient: str) -> None:
        """Hand a mail over to the server. Raises MailError.

        Returns normally as soon as the server has accepted the message, whatever happens afterwards. After an
        error at the end of the message the mail may have been accepted: a further try may send it twice.
        """
        sender = message["From"].addresses[0].addr_spec
        if not _ADDRESS.fullmatch(recipient) or not recipient.isprintable():
            raise MailError(_NO_ADDRESS, is_permanent=True)
        needs_utf8 = not (sender + recipient).isascii()
        with _failures(speaks_of_server=True):
            connection = Connection(self._server.host, self._server.port, self._seconds)
        try:
            with _failures(speaks_of_server=True):
                self._open(connection)
                if needs_utf8 and not connection.has_extn("smtputf8"):
                    raise MailError(_NO_UTF8, is_permanent=True)
                options = " SMTPUTF8 BODY=8BITMIME" if needs_utf8 else ""
                _require(2, connection.docmd("MAIL", f"FROM:<{sender}>{options}"), "MAIL", self._hidden())
            with _failures(speaks_of_server=False):
                self._send(connection, _content(message, is_utf8=needs_utf8), recipient)
        finally:
            connection.leave()

    def _open(self, connection: Connection) -> None:
        """Bring a new connection to the point at which it takes mails."""
        if self._server.security == IMPLICIT_TLS:
            connection.encrypt(self._tls)
        _require(2, connection.getreply(), "the connection")
        _require(2, connection.ehlo(), "EHLO")
        if self._server.security == STARTTLS:
            if not connection.has_extn("starttls"):
                raise MailError(_NO_STARTTLS, speaks_of_server=True)
            _require(2, connection.docmd("STARTTLS"), "STARTTLS")
            connection.encrypt(self._tls)
            _require(2, connection.ehlo(), "EHLO")  # what was offered before TLS is void
        if self._server.username:
            self._log_in(connection)

    def _log_in(self, connection: Connection) -> None:
        """Log in with UTF-8, of which the login of smtplib is not capable."""
        username, password = self._server.username, self._server.password
        methods = connection.esmtp_features.get("auth", "").upper().split()
        if "PLAIN" in methods:
            reply = connection.docmd("AUTH", f"PLAIN {_plain_response(username, password)}")
        elif "LOGIN" in methods:
            reply = connection.docmd("AUTH", "LOGIN")
            for response in map(_base64, (username, password)):
                reply = connection.docmd(response) if reply[0] == 334 else reply
        else:
            raise MailError(_NO_LOGIN, speaks_of_server=True)
        hidden = {_base64(username): "<username>", username: "<username>"}
        _require(2, reply, "AUTH", self._hidden() | hidden)

    def _send(self, connection: Connection, content: bytes, recipient: str) -> None:
        hidden = {recipient: "<recipient>"} | self._hidden()
        _require(2, connection.docmd("RCPT", f"TO:<{recipient}>"), "RCPT", hidden)
        _require(3, connection.docmd("DATA"), "DATA", hidden)
        if connection.seconds_left() < self._seconds * DATA_SHARE:
            connection.close()  # a QUIT would become a line of the message
            raise TimeoutError
        connection.send(content)
        _require(2, connection.getreply(), "the message", hidden)

    def _hidden(self) -> dict[str, str]:
        """Return what no text of an error may repeat, with what stands there instead."""
        username, password = self._server.username, self._server.password
        secrets = [_plain_response(username, password), _base64(password), password] if username else []
        return dict.fromkeys(secrets, "<password>")


def _content(message: EmailMessage, *, is_utf8: bool) -> bytes:
    """Return a message as the bytes after DATA. Its lines are of 7 bits, which every server takes."""
    text = message.as_bytes(policy=SMTP.clone(cte_type="7bit", utf8=is_utf8))
    # Servers disagree on a CR or LF alone: it would let a body end the message ("SMTP smuggling").
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", text.rstrip(b"\r\n")) + b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", lines) + b".\r\n"


def _require(
    digit: int, reply: tuple[int, bytes], command: str, hidden: Mapping[str, str] = _NOTHING
) -> None:
    """Raise MailError unless the code of a reply begins with `digit`."""
    code, text = reply
    if code // 100 == digit:
        return
    # Also 421 ("service not available"): a server that says so to some recipients must not stop all mails.
    is_of_mail = command in ("RCPT", "DATA", "the message") and code // 100 in (4, 5)
    raise MailError(
        f"the mail server answered {command} with {code}: {_one_line(text, hidden)}",
        is_permanent=is_of_mail and code // 100 == 5 and code != _LOGIN_REQUIRED,
        speaks_of_server=not is_of_mail,
    )


def _one_line(text: bytes, hidden: Mapping[str, str]) -> str:
    reply = text.decode(errors="replace")
    for secret, placeholder in hidden.items():
        reply = re.sub(re.escape(secret), placeholder, reply, flags=re.IGNORECASE)
    printable = "".join(char if char.isprintable() else " " for char in reply)
    return " ".join(printable.split())[:MAX_REPLY_CHARACTERS]


@contextmanager
def _failures(*, speaks_of_server: bool) -> Iterator[None]:
    """Turn a failure of the network into a MailError."""
    try:
        yield
    except OSError as error:
        raise MailError(_sentence(error), speaks_of_server=speaks_of_server) from None


def _sentence(error: OSError) -> str:
    match error:
        case TimeoutError():
            return "the mail server is silent or too slow"
        case ssl.SSLCertVerificationError():
            return f"the certificate of the mail server is refused: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS with the mail server failed: {error.reason}"
        case smtplib.SMTPServerDisconnected():
            return "the mail server closed the connection"
        case smtplib.SMTPException():
            return "the mail server does not speak SMTP"
        case _:
            return f"the mail server cannot be reached: {error.strerror or type(error).__name__}"


def _plain_response(username: str, password: str) -> str:
    return _base64(f"\0{username}\0{password}")


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")
