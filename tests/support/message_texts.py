"""Mails as the tests compose them and as their receivers read them."""

from collections.abc import Mapping
from datetime import datetime, timezone
from email import message_from_string, policy
from email.headerregistry import Address
from email.message import EmailMessage
from html.parser import HTMLParser

from auth.mail.messages import KINDS, SAMPLES, Templates

SENDER = Address("Streamly", "no-reply", "example.com")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
TEMPLATES = Templates(None)
LINK = SAMPLES["link"]
FRONTEND = SAMPLES["frontend_url"]
LINK_KINDS = [kind for kind, values in KINDS.items() if "link" in values]
NOTICES = [kind for kind, values in KINDS.items() if "time" in values]
HEADERS = ["Auto-Submitted", "Content-Language", "Content-Type", "Date", "From", "MIME-Version"]
HEADERS += ["Message-ID", "Subject", "To"]


def compose(
    kind: str = "verify_email",
    values: Mapping[str, str] | None = None,
    *,
    templates: Templates = TEMPLATES,
    sender: Address = SENDER,
    recipient: str = "ada@example.com",
) -> EmailMessage:
    """Return a mail of a kind with the values of a sample, some of them replaced by `values`."""
    values = {**SAMPLES, **(values or {})}
    return templates.compose(kind, sender=sender, recipient=recipient, values=values, now=NOW)


def parsed(message: EmailMessage) -> EmailMessage:
    """Return a message as its receiver reads it."""
    received = message_from_string(message.as_bytes().decode(), policy=policy.default)
    assert isinstance(received, EmailMessage)
    return received


def parts(message: EmailMessage) -> dict[str, str]:
    """Return the content of each part by its type."""
    return {
        part.get_content_type(): part.get_content().replace("\r\n", "\n")
        for part in parsed(message).iter_parts()
    }


class Page(HTMLParser):
    """An HTML part: the names of its elements, the addresses in it, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.addresses: list[str | None] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src", "action", "background")]

    def handle_data(self, data: str) -> None:
        self.text += data


def headers(message: EmailMessage) -> list[str]:
    """Return the names of the headers that a receiver finds, sorted."""
    return sorted(parsed(message).keys())
