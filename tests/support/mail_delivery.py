"""A mail, and its delivery to a server by the transport of the service."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest

from auth.mail.smtp import MailError, Transport
from runtime.mail_settings import smtp_url
from tests.support.mail_server import MailServer

RECIPIENT = "ada@example.org"


def mail(text: str = "Hello Ada\n", *, to: str = RECIPIENT) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = Address("Streamly", addr_spec="no-reply@example.com")
    local_part, _, domain = to.rpartition("@")
    message["To"] = Address("Ada", local_part, domain)  # addr_spec takes ASCII alone
    message["Subject"] = "A mail"
    message.set_content(text)
    return message


def deliver(
    server: MailServer | str, text: str = "Hello Ada\n", *, to: str = RECIPIENT, **options: Any
) -> None:
    url = server if isinstance(server, str) else server.url
    Transport(smtp_url(url), **options).deliver(mail(text, to=to), recipient=to)


def refusal(server: MailServer | str, *, to: str = RECIPIENT, **options: Any) -> MailError:
    """Return the error of a mail that is not delivered."""
    with pytest.raises(MailError) as caught:
        deliver(server, to=to, **options)
    return caught.value
