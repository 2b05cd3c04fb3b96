"""What is in the outbox, as the sender would send it, but without a mail server and without a text."""

from dataclasses import replace

from flask import Flask

from auth.mail import links, outbox
from auth.mail.links import Letter
from runtime import clock
from runtime.mail_settings import MailSettings, sender, smtp_url

MAIL = MailSettings(
    smtp=smtp_url("smtp://127.0.0.1:9"),  # nothing listens there
    mail_from=sender("Streamly <no-reply@streamly.example>"),
    frontend_url="https://app.streamly.example",
)


def mail_settings(**changes: object) -> MailSettings:
    return replace(MAIL, **changes)  # type: ignore[arg-type]


def letters(app: Flask) -> list[Letter]:
    """Take every mail that is due out of the outbox, and return those that would have gone out."""
    auth = app.extensions["auth"]
    written = []
    while mail := auth.database.write(outbox.claim):
        letter = auth.database.write(links.letter, mail, settings=auth.settings.mail, now=clock.now())
        if letter:
            written.append(letter)
        auth.database.write(outbox.remove, mail)
    return written


def token_of(letter: Letter) -> str:
    """Return the token in the link of a letter."""
    return letter.link.partition("#token=")[2]
