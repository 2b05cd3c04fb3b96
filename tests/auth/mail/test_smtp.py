"""A mail on its way to the server: what the server gets, and what its refusals mean."""

from collections.abc import Callable

import pytest

from auth.mail.smtp import MAX_REPLY_CHARACTERS, MailError, Transport
from runtime.mail_settings import smtp_url
from tests.support.mail_delivery import RECIPIENT, deliver, mail, refusal
from tests.support.mail_server import MailServer

Serve = Callable[..., MailServer]
LOGIN = ("streamly@example.com", "p:\u00e4/@ss word")


@pytest.mark.parametrize("tls", ["", "starttls", "implicit"])
@pytest.mark.parametrize("login", [None, LOGIN], ids=["open", "login"])
def test_mail_arrives(serve: Serve, tls: str, login: tuple[str, str] | None) -> None:
    server = serve(tls=tls, login=login)

    deliver(server)

    (received,) = server.messages
    assert (received.sender, received.recipients) == ("no-reply@example.com", [RECIPIENT])
    assert (received.login, received.is_encrypted) == (LOGIN[0] if login else "", bool(tls))
    assert received.message["Subject"] == "A mail"
    assert received.message.get_content() == "Hello Ada\r\n"


def test_login_that_is_offered_as_login_alone(serve: Serve) -> None:
    server = serve(login=LOGIN)
    server.auth_methods = ["LOGIN"]

    deliver(server)

    assert server.messages[0].login == LOGIN[0]


def test_client_names_itself_by_its_address(server: MailServer) -> None:
    deliver(server)

    assert server.commands[0] == "EHLO [127.0.0.1]"
    assert server.commands[-1] == "QUIT"


@pytest.mark.parametrize(
    "text",
    [
        ".\n..\n.dot\n",
        "Gr\u00fc\u00dfe \U0001f600\n",
        "a long line " * 500 + "\n",
        "the end\n.\nMAIL FROM:<evil@example.com>\n",
        "no line end",
    ],
    ids=["dots", "utf-8", "long", "smuggled", "unended"],
)
def test_text_arrives_as_it_was_in_lines_of_7_bits(server: MailServer, text: str) -> None:
    deliver(server, text)

    (received,) = server.messages
    assert received.message.get_content().replace("\r\n", "\n").rstrip() == text.rstrip()
    assert received.content.isascii()
    assert max(map(len, received.content.split(b"\r\n"))) < 100


def test_line_ends_are_crlf_everywhere(server: MailServer) -> None:
    deliver(server, "one\ntwo\n")

    assert server.messages[0].content.replace(b"\r\n", b"").count(b"\n") == 0


def test_line_end_of_another_kind_does_not_end_the_message(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "email.message.EmailMessage.as_bytes", lambda *_, **__: b"A: b\r\n\r\nx\n.\r\ny\r.\rz"
    )

    deliver(server)

    assert server.messages[0].content == b"A: b\r\n\r\nx\r\n.\r\ny\r\n.\r\nz\r\n"


def test_recipient_beyond_ascii_arrives_where_smtputf8_is_offered(server: MailServer) -> None:
    deliver(server, to="j\u00f6rg@b\u00fccher.example")

    (received,) = server.messages
    assert received.recipients == ["j\u00f6rg@b\u00fccher.example"]
    assert "SMTPUTF8" in received.options
    assert "\r\nTo: Ada <j\u00f6rg@b\u00fccher.example>\r\n".encode() in received.content


def test_recipient_beyond_ascii_is_refused_without_smtputf8(serve: Serve) -> None:
    server = serve(is_utf8=False)

    error = refusal(server, to="j\u00f6rg@example.org")

    assert "SMTPUTF8" in str(error)
    assert (error.is_permanent, error.speaks_of_server) == (True, False)
    assert not [command for command in server.commands if command.startswith("MAIL")]


@pytest.mark.parametrize(
    "to", ["ada", "a b@x.org", "a>@x.org", "a@x.org\r\nDATA", "a@x@y", "", "a\udc80@x.org"]
)
def test_recipient_that_is_no_address_never_reaches_the_server(server: MailServer, to: str) -> None:
    with pytest.raises(MailError) as caught:
        Transport(smtp_url(server.url)).deliver(mail(), recipient=to)

    assert (caught.value.is_permanent, caught.value.speaks_of_server) == (True, False)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("stage", "reply", "is_permanent", "speaks_of_server"),
    [
        ("CONNECT", "421 busy", False, True),
        ("CONNECT", "554 no mail here", False, True),
        ("EHLO", "500 what", False, True),
        ("STARTTLS", "454 not now", False, True),
        ("STARTTLS", "501 no", False, True),
        ("AUTH", "454 later", False, True),
        ("AUTH", "535 wrong password", False, True),
        ("MAIL", "451 later", False, True),
        ("MAIL", "550 sender refused", False, True),
        ("RCPT", "450 greylisted", False, False),
        ("RCPT", "452 mailbox full", False, False),
        ("RCPT", "550 no such user", True, False),
        ("RCPT", "421 going down", False, False),
        ("RCPT", "530 login first", False, False),
        ("RCPT", "what?", False, True),
        ("RCPT", "354 go on", False, True),
        ("DATA", "451 later", False, False),
        ("DATA", "554 no", True, False),
        ("DATA", "250 wrong", False, True),
        ("MESSAGE", "421 going down", False, False),
        ("MESSAGE", "452 disk full", False, False),
        ("MESSAGE", "552 too large", True, False),
        ("MESSAGE", "554 spam", True, False),
    ],
)
def test_refusal_says_whether_another_try_helps(
    serve: Serve, stage: str, reply: str, is_permanent: bool, speaks_of_server: bool
) -> None:
    server = serve(tls="starttls", login=LOGIN)
    server.replies[stage] = reply

    error = refusal(server)

    assert (error.is_permanent, error.speaks_of_server) == (is_permanent, speaks_of_server)
    assert reply[4:] in str(error)
    assert server.messages == []


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "MESSAGE"])
def test_connection_that_ends_early_is_a_reason_to_try_again(serve: Serve, stage: str) -> None:
    server = serve(tls="starttls", login=LOGIN)
    server.closes_at = stage

    error = refusal(server)

    assert not error.is_permanent
    assert error.speaks_of_server is (stage not in ("RCPT", "DATA", "MESSAGE"))
    assert str(error) == "the mail server closed the connection"


@pytest.mark.parametrize("behaviour", [{"replies": {"QUIT": "500 no"}}, {"closes_at": "QUIT"}])
def test_accepted_mail_is_sent_however_the_connection_ends(
    server: MailServer, behaviour: dict[str, object]
) -> None:
    vars(server).update(behaviour)

    deliver(server)

    assert len(server.messages) == 1


def test_text_of_a_refusal_is_one_short_printable_line(server: MailServer) -> None:
    server.replies["RCPT"] = "550-\x1b[2J5.1.1\t\u202eno\x07\r\n550-such\r\n550 user" + "!" * 500

    text = str(refusal(server))

    assert text.isprintable()
    assert "[2J5.1.1 no such user!!" in text
    assert len(text) < MAX_REPLY_CHARACTERS + 50


def test_text_of_a_refusal_does_not_name_the_recipient(server: MailServer) -> None:
    server.replies["RCPT"] = "550 <Ada@EXAMPLE.org>: unknown; " + "x" * 160 + RECIPIENT

    assert "550: <<recipient>>: unknown" in str(refusal(server))
    assert "ada@" not in str(refusal(server)).lower()
