"""The kinds of values of the settings of mail: what each takes, and what it refuses without repeating it."""

import traceback
from collections.abc import Callable
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from runtime import mail_settings
from runtime.mail_settings import IMPLICIT_TLS, NO_TLS, STARTTLS, SmtpServer

SECRET = "hunter2"


def broken_rule(kind: Callable[[str], Any], text: str) -> str:
    """Return the traceback of a refusal, whose own text is a rule."""
    with pytest.raises(ValueError, match=r"^must ") as caught:
        kind(text)
    return "".join(traceback.format_exception_only(caught.value)) + repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("url", "host", "port", "security"),
    [
        ("smtp://mail.example.com", "mail.example.com", 587, STARTTLS),
        ("smtp://mail.example.com:25/", "mail.example.com", 25, STARTTLS),
        ("smtp://mail.example.com?tls=required", "mail.example.com", 587, STARTTLS),
        ("smtp://mail.example.com:2525?tls=off", "mail.example.com", 2525, NO_TLS),
        ("smtps://mail.example.com", "mail.example.com", 465, IMPLICIT_TLS),
        ("smtps://mail.example.com:8465?tls=required", "mail.example.com", 8465, IMPLICIT_TLS),
        ("SMTP://Mail.Example.com", "mail.example.com", 587, STARTTLS),
        ("smtp://mail_relay:1", "mail_relay", 1, STARTTLS),
        ("smtp://mail:65535", "mail", 65535, STARTTLS),
        ("smtp://localhost:1025", "localhost", 1025, NO_TLS),
        ("smtp://LOCALHOST", "localhost", 587, NO_TLS),
        ("smtp://127.0.0.1", "127.0.0.1", 587, NO_TLS),
        ("smtp://127.1.2.3", "127.1.2.3", 587, NO_TLS),
        ("smtp://[::1]:25", "::1", 25, NO_TLS),
        ("smtp://[::1]?tls=required", "::1", 587, STARTTLS),
        ("smtp://localhost?tls=required", "localhost", 587, STARTTLS),
        ("smtps://localhost", "localhost", 465, IMPLICIT_TLS),
        ("smtp://[2001:db8::25]", "2001:db8::25", 587, STARTTLS),
        ("smtp://0.0.0.0", "0.0.0.0", 587, STARTTLS),
        ("smtp://10.0.0.1", "10.0.0.1", 587, STARTTLS),
        ("smtp://localhost.example.com", "localhost.example.com", 587, STARTTLS),
        ("smtp://127.0.0.1.example.com", "127.0.0.1.example.com", 587, STARTTLS),
    ],
)
def test_url_of_a_server(url: str, host: str, port: int, security: str) -> None:
    assert mail_settings.smtp_url(url) == SmtpServer(host, port, security)


@pytest.mark.parametrize(
    ("userinfo", "username", "password"),
    [
        ("user:secret", "user", "secret"),
        ("no-reply%40example.com:p%3Aa%2Fs%23%3F%40%25", "no-reply@example.com", "p:a/s#?@%"),
        ("user:p:q", "user", "p:q"),
        ("user:p@q", "user", "p@q"),
        ("user:a+b", "user", "a+b"),
        ("j%C3%B6rg:p%C3%A4ss%20w", "j\u00f6rg", "p\u00e4ss w"),
        ("j\u00f6rg:p\u00e4ss", "j\u00f6rg", "p\u00e4ss"),
    ],
)
def test_url_with_a_login(userinfo: str, username: str, password: str) -> None:
    server = mail_settings.smtp_url(f"smtp://{userinfo}@mail.example.com:25")

    assert server == SmtpServer("mail.example.com", 25, STARTTLS, username, password)


def test_password_is_left_out_of_the_repr() -> None:
    assert SECRET not in repr(mail_settings.smtp_url(f"smtp://user:{SECRET}@mail"))


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "hunter2:25",
        "smtp:hunter2",
        "smtp://",
        "smtp:///hunter2",
        "http://u:hunter2@mail",
        "smtp+tls://u:hunter2@mail",
        "smtp://u:hunter2@",
        "smtp://u:hunter2@:25",
        "smtp://hunter2@mail",
        "smtp://:hunter2@mail",
        "smtp://u:hunter2@mail:0",
        "smtp://u:hunter2@mail:65536",
        "smtp://u:hunter2@mail:port",
        "smtp://u:hunter2@mail:-1",
        "smtp://u:hunter2@mail:25:25",
        "smtp://u:hunter2@mail:\u0662\u0665",
        "smtp://u:hunter2@mail/inbox",
        "smtp://u:hunter2@mail#part",
        "smtp://u:hunter2/x@mail",
        "smtp://u:hunter2#x@mail",
        "smtp://u:hunter2?x@mail",
        "smtp://u:25?hunter2@mail",
        "smtp://u:[hunter2@mail",
        "smtp://u:hunter2]@mail",
        "smtp://u\u2100:hunter2@mail",
        "smtp://u:hunter2%0D%0ARCPT@mail",
        "smtp://u%0a:hunter2@mail",
        "smtp://u:hunter2%00@mail",
        "smtp://u:hunter2%7f@mail",
        "smtp://u:hunter2@b\u00fccher.example",
        "smtp://u:hunter2@mail server",
        "smtp://u:hunter2@mail,other",
        "smtp://u:hunter2@::1",
        "smtp://u:hunter2@[::1",
        "smtp://u:hunter2@[fe80::1%25eth0]",
        "smtp://u:hunter2@mail?tls",
        "smtp://u:hunter2@mail?tls=",
        "smtp://u:hunter2@mail?tls=OFF",
        "smtp://u:hunter2@mail?TLS=off",
        "smtp://u:hunter2@mail?tls=optional",
        "smtp://u:hunter2@mail?tls=off&timeout=1",
        "smtps://u:hunter2@mail?tls=off",
        "smtp://u:hunter2@mail?tls=required&tls=off",
        "smtp://u:hunter2@a..b",
        "smtp://u:hunter2@.",
        "smtp://u:hunter2@-a",
        f"smtp://u:hunter2@{'a' * 64}.example",
        "smtp://u:hunter2@[::::]",
        "smtp://u:hunter2@[1.2.3.4]x",
        "smtp://u:hunter2@[1.2.3.4]",
        "smtp://u:hunter2%FF@mail",
        "smtp://u:hunter2\udcff@mail",
        "smtp://u:hunter2\n@mail",
        "smtp://u:hunter2@ma\til",
    ],
)
def test_url_that_is_refused_is_not_repeated(url: str) -> None:
    shown = broken_rule(mail_settings.smtp_url, url)

    assert SECRET not in shown
    assert "smtp://user:password@host:587" in shown


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("no-reply@example.com", Address("", "no-reply", "example.com")),
        ("<no-reply@example.com>", Address("", "no-reply", "example.com")),
        ("Streamly <no-reply@example.com>", Address("Streamly", "no-reply", "example.com")),
        ('"Streamly, Inc." <a+b@example.com>', Address("Streamly, Inc.", "a+b", "example.com")),
        ("Gr\u00fc\u00dfe \u2709 <a@b>", Address("Gr\u00fc\u00dfe \u2709", "a", "b")),
    ],
)
def test_sender(text: str, address: Address) -> None:
    assert mail_settings.sender(text) == address


def test_name_of_the_sender_is_encoded_in_the_header() -> None:
    message = EmailMessage(policy=SMTP)

    message["From"] = mail_settings.sender("Gr\u00fc\u00dfe <a@example.com>")

    assert message.as_bytes() == b"From: =?utf-8?q?Gr=C3=BC=C3=9Fe?= <a@example.com>\r\n\r\n"


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "<>",
        "hunter2@",
        "@hunter2",
        "hunter2@a@b",
        "hunter2 <a b@example.com>",
        "hunter2, Inc. <a@example.com>",
        "hunter2 <\u00e4@example.com>",
        "hunter2 <a@b\u00fccher.example>",
        "hunter2 <a@[127.0.0.1]>",
        "hunter2 <a@b..c>",
        "hunter2 <a@b.>",
        "hunter2 <a..b@example.com>",
        "hunter2 <.a@example.com>",
        "hunter2 <a.@example.com>",
        "a@example.com, hunter2@example.com",
        "hunter2 <a@example.com> b",
        "A <a@example.com>, hunter2 <c@example.com>",
        "hunter2\u0085 <a@example.com>",
        "hunter2\u2028 <a@example.com>",
        "hunter2\u202e <a@example.com>",
        "hunter2\udcff <a@example.com>",
        'hunter2 <"a b"@example.com>',
        "hunter2\nBcc: x@example.com <a@example.com>",
        "hunter2\r\n <a@example.com>",
        "hunter2 <a@example.com\n>",
        "hunter2 <a@example.com>\r\nBcc: x@example.com",
        "hunter2\0 <a@example.com>",
        "hunter2\x7f <a@example.com>",
        f"hunter2 <{'a' * 65}@example.com>",
        f"hunter2 <a@{'b' * 254}>",
    ],
)
def test_sender_that_is_refused_is_not_repeated(text: str) -> None:
    assert SECRET not in broken_rule(mail_settings.sender, text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com/", "https://app.example.com"),
        ("https://example.com/app/", "https://example.com/app"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000/", "http://[::1]:3000"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_frontend_url(text: str, url: str) -> None:
    assert mail_settings.frontend_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "//hunter2",
        "https://",
        "https:///hunter2",
        "ftp://hunter2",
        "javascript://hunter2",
        "https://u:hunter2@example.com",
        "https://hunter2@example.com",
        "https://hunter2?",
        "https://hunter2#",
        "https://hunter2?a=b",
        "https://hunter2#a",
        "https://hunter2:0",
        "https://hunter2:65536",
        "https://example.com:hunter2",
        "https://[::1",
        "https://b\u00fccher.hunter2",
        "https://hunter2 example.com",
        "https://hunter2\nexample.com",
        "https://hunter2\t",
        'https://hunter2"onclick',
        "https://hunter2/<b>",
        "https://hunter2\\example.com",
        "https://@hunter2",
        "https://:@hunter2",
        "https://hunter2:",
        "https://hunter2..example.com",
        "https://[1.2.3.4]/hunter2",
    ],
)
def test_frontend_url_that_is_refused_is_not_repeated(text: str) -> None:
    assert SECRET not in broken_rule(mail_settings.frontend_url, text)


def test_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path.parent)

    assert mail_settings.folder(tmp_path.name) == tmp_path.resolve()


@pytest.mark.parametrize("name", ["hunter2", "hunter2\0", "hunter2\udcff", "hunter2" * 1000])
def test_folder_that_is_refused_is_not_repeated(tmp_path: Path, name: str) -> None:
    assert SECRET not in broken_rule(mail_settings.folder, f"{tmp_path}/{name}")


def test_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    broken_rule(mail_settings.folder, str(tmp_path / "file"))
