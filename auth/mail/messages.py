"""The mails that the service sends: their kinds, their templates, and how a message is composed.

The folder of the setting MAIL_TEMPLATES may hold another file in the place of each of ours.
"""

import re
import secrets
import traceback
from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from pathlib import Path

from jinja2 import FunctionLoader, StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from runtime.declarations import ConfigError

FOLDER = Path(__file__).with_name("templates")
MAX_SUBJECT_CHARACTERS = 150
MAX_ADDRESS_CHARACTERS = 320  # RFC 5321, section 4.5.3.1: 64 before the @, 255 behind it

_LINK = ("link", "expires", "address")
_NOTICE = ("time", "ip", "device")
# The values of each kind. Those of COMMON_VALUES come to each as well.
KINDS: dict[str, tuple[str, ...]] = {
    "verify_email": _LINK,
    "reset_password": _LINK,
    "password_changed": _NOTICE,
    "password_reset": _NOTICE,
    "email_changed": (*_NOTICE, "address"),
    "account_locked": _NOTICE,
    "new_device": _NOTICE,
    "two_factor_on": _NOTICE,
    "two_factor_off": _NOTICE,
    "recovery_code_used": (*_NOTICE, "left"),
    "test": (),
}
COMMON_VALUES = ("name", "username", "frontend_url")
SAMPLE_SENDER = Address("Streamly", "no-reply", "example.com")
REQUIRED_SAMPLES = {
    "frontend_url": "https://app.example.com",
    "link": "https://app.example.com/page#token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "expires": "24 hours",
    "address": "ada@example.com",
    "time": "2026-01-02 03:04 UTC",
    "left": "9",
}
SAMPLES = REQUIRED_SAMPLES | {
    "name": "Ada",
    "username": "ada",
    "ip": "192.0.2.7",
    "device": "Firefox on Windows",
}

_SUBJECT = "Subject:"
_SPECIALS = r'\s@<>()\[\]\\,;:"'  # RFC 5322, section 3.2.3; a dot is allowed
_MAILBOX = re.compile(rf"([^{_SPECIALS}]+)@([\w-]+(?:\.[\w-]+)*)")
# RFC 2047. The email package decodes such a word in a header that is set, perhaps to a line end.
_ENCODED_WORD = re.compile(r"=\?(?=.*\?.*\?)")
# What the code of a template may raise.
_FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class ComposeError(ValueError):
    """A mail that cannot be composed. str() is for operators; it never has the recipient's address."""


class BadRecipient(ComposeError):
    """No mail can go to the address: a header cannot hold it."""


class BrokenTemplate(ComposeError):
    """A template that cannot be rendered, with its file and line."""


class Templates:
    """The templates of mails. A file of `folder` goes before ours of the same name."""

    def __init__(self, folder: Path | None) -> None:
        self._folders = [folder, FOLDER] if folder else [FOLDER]
        self._environment = SandboxedEnvironment(
            loader=FunctionLoader(self._load),
            autoescape=lambda name: name is None or not name.endswith(".txt"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def check(self) -> None:
        """Render every mail, with and without the values that may be empty.

        All templates are in memory afterwards. Raises ConfigError if one cannot be used.
        """
        try:
            for kind in KINDS:
                self._check(kind, SAMPLES)
                self._check(kind, REQUIRED_SAMPLES)
        except BrokenTemplate as exc:
            rule = f"has a template that cannot be used: {exc}"
            raise ConfigError({"MAIL_TEMPLATES": rule}) from None

    def compose(
        self, kind: str, *, sender: Address, recipient: str, values: Mapping[str, str], now: datetime
    ) -> EmailMessage:
        """Return a mail of a kind, with a text and an HTML part.

        values: those of KINDS and COMMON_VALUES; an absent one is empty. Each becomes one line of printable
        characters. Raises BadRecipient, or BrokenTemplate if a template fails with these values.
        """
        address = _address(recipient)
        subject, text, html = self._parts(kind, sender, values)
        # A non-ASCII address needs a server with SMTPUTF8 in any case.
        message = EmailMessage(policy=SMTP if recipient.isascii() else SMTPUTF8)
        message["From"] = sender
        message["To"] = address
        message["Subject"] = subject
        message["Date"] = now
        message["Message-ID"] = f"<{secrets.token_hex(16)}@{sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no robot answers
        # Its lines have at most 76 characters, however long a link is. SMTP allows 998 bytes.
        message.set_content(text, cte="quoted-printable")
        message.add_alternative(html, subtype="html", cte="quoted-printable")  # moves Content-* to the text
        if self._folders == [FOLDER]:  # an operator may write in another language
            message["Content-Language"] = "en"
        return message

    def _check(self, kind: str, samples: Mapping[str, str]) -> None:
        _, text, html = self._parts(kind, SAMPLE_SENDER, samples)
        for name, part in ((f"{kind}.txt", text), (f"{kind}.html", html)):
            if "link" in KINDS[kind] and samples["link"] not in part:
                raise BrokenTemplate(f"{self._file_of(name)} lacks the link")

    def _parts(self, kind: str, sender: Address, values: Mapping[str, str]) -> tuple[str, str, str]:
        """Return subject, text and HTML of a mail."""
        shown = {name: _one_line(values.get(name, "")) for name in (*COMMON_VALUES, *KINDS[kind])}
        shown["service"] = _one_line(sender.display_name) or sender.domain
        first_line, _, text = self._render(f"{kind}.txt", shown).partition("\n")
        subject = _ENCODED_WORD.sub("= ?", _one_line(first_line.removeprefix(_SUBJECT)))
        if not first_line.startswith(_SUBJECT) or not subject:
            raise BrokenTemplate(f"{self._file_of(f'{kind}.txt')}, line 1: needs a subject behind {_SUBJECT}")
        shown["subject"] = subject[:MAX_SUBJECT_CHARACTERS].rstrip()
        return shown["subject"], f"{text.strip()}\n", self._render(f"{kind}.html", shown)

    def _render(self, name: str, values: Mapping[str, str]) -> str:
        try:
            return self._environment.get_template(name).render(values)
        except BrokenTemplate:
            raise
        except _FAILURES as exc:
            raise BrokenTemplate(f"{self._place_of(exc, name)}: {_one_line(str(exc))}") from None

    def _load(self, name: str) -> tuple[str, str, None] | None:
        """Return text and path of a template for Jinja."""
        for folder in self._folders:
            path = folder / name
            try:
                return path.read_text("utf-8-sig"), str(path), None
            except FileNotFoundError:
                continue
            except OSError as exc:
                raise BrokenTemplate(f"{path}: {exc.strerror}") from None
            except UnicodeDecodeError:
                raise BrokenTemplate(f"{path}: the file is not UTF-8") from None
        return None

    def _place_of(self, exc: Exception, name: str) -> str:
        """Return the file and the line of the template that raised `exc` while `name` was rendered.

        Jinja puts the template into the traceback, also that of an error of syntax.
        """
        frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(exc.__traceback__)]
        places = [f"{path}, line {line}" for path, line in frames if Path(path).parent in self._folders]
        return places[-1] if places else str(self._file_of(name))

    def _file_of(self, name: str) -> Path:
        return next((path for folder in self._folders if (path := folder / name).exists()), FOLDER / name)


def _address(recipient: str) -> Address:
    match = _MAILBOX.fullmatch(recipient)
    is_plain = recipient.isprintable() and not _ENCODED_WORD.search(recipient)
    if not match or not is_plain or len(recipient) > MAX_ADDRESS_CHARACTERS:
        raise BadRecipient("the address of the recipient cannot stand in a mail")
    return Address(username=match[1], domain=match[2])


def _one_line(text: str) -> str:
    """Return a text as one line, without control characters and other characters that show nothing."""
    printable = [character if character.isprintable() else " " for character in text]
    return " ".join("".join(printable).split())
