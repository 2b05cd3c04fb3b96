"""The mail server of development: each mail becomes a file, and its link stands in the terminal."""

import os
import re
import sys
import tempfile
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path

from auth.mail.smtp import MailError
from dev import DATA_FOLDER
from runtime import clock

FOLDER = DATA_FOLDER / "mails"
MAX_MAILS = 1000
# What the service needs to send mails, as long as no mail server is set. Nothing connects to this one.
SETTINGS = {
    "SMTP_URL": "smtp://localhost",
    "MAIL_FROM": "Streamly <no-reply@localhost>",
    "FRONTEND_URL": "http://localhost:3000",
}
_LINK = re.compile(r"https?://\S+#token=\S+")


def deliver(message: EmailMessage, *, recipient: str) -> None:
    """Keep a mail as a file, and print whom it is for and its link.

    Raises MailError if the file cannot be written, so that the mail is tried again.
    """
    subject = message["Subject"]
    try:
        path = _write(message.as_bytes())
    except OSError as exc:
        problem = f"{exc.filename or FOLDER} cannot be used ({exc.strerror})"
        _print(f"Mail to {recipient}: {subject}  cannot be kept, and is tried again later: {problem}")
        raise MailError(problem, speaks_of_server=True) from None
    _print("  ".join([f"Mail to {recipient}: {subject}", *_links(message), f"({path})"]))
    _remove_oldest()


def _write(content: bytes) -> Path:
    """Write a new file, which only its owner may read. Names in order are mails in order."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A mail program that looks into the folder, or a full disk, must not find half of a mail.
    descriptor, unfinished = tempfile.mkstemp(dir=FOLDER, prefix="unfinished.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        path = FOLDER / f"{clock.now():%Y-%m-%d_%H-%M-%S.%f}.eml"
        os.link(unfinished, path)  # unlike a rename, it replaces no mail
    finally:
        os.unlink(unfinished)
    return path


def _remove_oldest() -> None:
    with suppress(OSError):
        for path in sorted(FOLDER.glob("*.eml"))[:-MAX_MAILS]:
            path.unlink()


def _links(message: EmailMessage) -> list[str]:
    """Return the link of a mail that has one."""
    text = message.get_body(("plain",))
    return _LINK.findall(text.get_content()) if text else []


def _print(line: str) -> None:
    """Print a line for the developer. What a client typed cannot steer the terminal."""
    printable = "".join(character if character.isprintable() else "?" for character in line)
    with suppress(OSError, UnicodeEncodeError):  # a terminal that is gone, or knows few characters
        print(printable, file=sys.stdout, flush=True)
