"""Mails of development: files that mail programs open, and links in the terminal."""

import errno
import os
import re
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from auth.mail.messages import Templates
from auth.mail.smtp import MailError
from dev import mailbox
from runtime import clock
from runtime.mail_settings import sender

LINK = "http://localhost:3000/verify-email#token=" + "aB3_-" * 8 + "xyz"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data" / "mails"
    monkeypatch.setattr(mailbox, "FOLDER", folder)
    return folder


def message(kind: str = "verify_email", recipient: str = "ada@example.com") -> EmailMessage:
    values = {
        "frontend_url": "http://localhost:3000",
        "link": LINK,
        "expires": "24 hours",
        "address": recipient,
        "time": "2026-01-02 03:04 UTC",
        "name": "Zoë",
    }
    return Templates(None).compose(
        kind,
        sender=sender("Streamly <no-reply@localhost>"),
        recipient=recipient,
        values=values,
        now=clock.now(),
    )


def read(path: Path) -> EmailMessage:
    # The parser of bytes takes headers in UTF-8 (RFC 6532) for damaged ones.
    mail: EmailMessage = message_from_string(path.read_text("utf-8"), policy=default)
    return mail


def deliver(recipient: str = "ada@example.com", kind: str = "verify_email") -> None:
    mailbox.deliver(message(kind, recipient), recipient=recipient)


@pytest.mark.parametrize("recipient", ["ada@example.com", "zoë@exämple.de"], ids=ascii)
def test_mail_is_a_file_that_a_mail_program_reads(folder: Path, recipient: str) -> None:
    deliver(recipient)

    (path,) = folder.iterdir()
    mail = read(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.\d{6}\.eml", path.name)
    assert mail["To"].addresses[0].addr_spec == recipient
    assert mail["Subject"] == "Confirm your email address for Streamly"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert all(LINK in part.get_content() for part in mail.iter_parts())
    assert all("Zoë" in part.get_content() for part in mail.iter_parts())


def test_mails_are_for_the_owner_only(folder: Path) -> None:
    before = os.umask(0)
    try:
        deliver()
    finally:
        os.umask(before)

    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_line_has_recipient_subject_link_and_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deliver()

    (path,) = folder.iterdir()
    assert capsys.readouterr().out == (
        f"Mail to ada@example.com: Confirm your email address for Streamly  {LINK}  ({path})\n"
    )


def test_line_of_a_mail_without_a_link_has_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(kind="password_changed")

    (path,) = folder.iterdir()
    assert capsys.readouterr().out.endswith(f" Streamly password was changed  ({path})\n")


def test_characters_that_steer_a_terminal_are_shown_as_question_marks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mailbox.deliver(message(), recipient="a\x1b[2J\u202e@example.com")

    assert capsys.readouterr().out.startswith("Mail to a?[2J?@example.com: ")


def test_names_of_files_in_order_are_mails_in_order_and_the_oldest_are_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "MAX_MAILS", 3)
    for number in range(5):
        deliver(f"user-{number}@example.com")

    mails = [read(path) for path in sorted(folder.iterdir())]

    assert [mail["To"] for mail in mails] == [f"user-{number}@example.com" for number in (2, 3, 4)]


def test_other_files_in_the_folder_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "MAX_MAILS", 1)
    folder.mkdir(parents=True)
    (folder / "notes.txt").touch()

    deliver()
    deliver()

    assert sorted(path.suffix for path in folder.iterdir()) == [".eml", ".txt"]


def assert_postponed(output: str, *pieces: str) -> None:
    """Assert one line for the developer."""
    assert output.startswith("Mail to ada@example.com: ")
    assert "is tried again later" in output
    assert all(piece in output for piece in pieces)
    assert output.count("\n") == 1


def test_folder_that_cannot_be_made_postpones_the_mail(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.parent.write_text("")  # root may write every folder, but no file as one

    with pytest.raises(MailError, match=r"cannot be used \(Not a directory\)") as caught:
        deliver()

    assert not caught.value.is_permanent
    assert caught.value.speaks_of_server
    assert_postponed(capsys.readouterr().out, str(folder), "Not a directory")


def test_full_disk_postpones_the_mail_and_leaves_no_half_of_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", fail)
        with pytest.raises(MailError, match="No space left on device"):
            deliver()

    assert list(folder.iterdir()) == []
    assert_postponed(capsys.readouterr().out, str(folder), "No space left on device")

    deliver()
    assert len(list(folder.iterdir())) == 1


class Closed:
    """A terminal that is gone, or one that knows few characters."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def write(self, _: str) -> int:
        raise self._error

    def flush(self) -> None: ...


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(), OSError(errno.EIO, "EIO"), UnicodeEncodeError("ascii", "ë", 0, 1, "")],
    ids=["pipe", "terminal", "characters"],
)
def test_terminal_that_cannot_print_does_not_stop_the_mail(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Closed(error))
        deliver()

    assert len(list(folder.iterdir())) == 1
