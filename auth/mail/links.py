"""What a queued mail becomes when it is sent: its user, its address, and the link with a new token.

The text of a token is in the memory of the sender and in the mail alone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from auth import users
from auth.mail import outbox
from auth.mail.outbox import QueuedMail
from auth.tokens import one_time
from auth.tokens.one_time import Owner
from auth.users import User
from db import Cursor, transaction
from runtime.mail_settings import MailSettings

VERIFY_EMAIL, RESET_PASSWORD = one_time.VERIFY_EMAIL, one_time.RESET_PASSWORD
PAGES = {VERIFY_EMAIL: "verify-email", RESET_PASSWORD: "reset-password"}


@dataclass(frozen=True)
class Letter:
    """A mail that can be written. recipient: the address as the user has it. link: "" for a notice."""

    kind: str
    user: User
    recipient: str
    details: dict[str, str]
    link: str = ""
    expires_seconds: int = 0


def find_user(cur: Cursor, mail: QueuedMail) -> User | None:
    """Return the user whom a mail is for. Returns None if the mail has no reason any more.

    It has none if the user is gone, or, for a mail with a link, does not have the address or has verified it.
    """
    if mail.user_id is not None:
        user = users.find_by_id(cur, mail.user_id)
    else:
        user = users.find_by_email(cur, mail.recipient) if mail.kind in PAGES else None
    if user and mail.kind in PAGES and not _address_of(user, mail):
        return None
    return user


def letter(cur: Cursor, mail: QueuedMail, *, settings: MailSettings, now: datetime) -> Letter | None:
    """Return what to write for a queued mail. A mail with a link gets a new token here.

    now: aware. Returns None if `find_user` does, or if another worker has claimed the mail meanwhile.
    """
    user = find_user(cur, mail)
    if user is None or mail.kind not in PAGES:
        return Letter(mail.kind, user, mail.recipient, mail.details) if user else None
    with transaction(cur):
        users.lock(cur, user.id)
        user = users.find_by_id(cur, user.id)  # as the row is once it is locked
        recipient = user and _address_of(user, mail)
        if user is None or not recipient:
            return None
        # Race: a worker that was frozen would void the link that another worker has sent since.
        if not outbox.is_claimed(cur, mail):
            return None
        seconds = _lifetime(mail.kind, settings)
        token = one_time.new()
        expires_at = now + timedelta(seconds=seconds)
        one_time.replace(cur, token, Owner(user.id, recipient), purpose=mail.kind, expires_at=expires_at)
    # Behind the #: browsers keep the fragment to themselves, so that no server logs the token.
    link = f"{settings.frontend_url}/{PAGES[mail.kind]}#token={token}"
    return Letter(mail.kind, user, recipient, mail.details, link, seconds)


def _address_of(user: User, mail: QueuedMail) -> str | None:
    """Return the address that a link may be sent to. Returns None if the mail has no reason any more."""
    if mail.kind == RESET_PASSWORD:
        # The stored address, never the typed one: two addresses may look or fold alike.
        return user.email if _folded(user.email) == _folded(mail.recipient) else None
    if mail.recipient == user.pending_email:
        return user.pending_email
    is_due = mail.recipient == user.email and not user.email_verified and user.pending_email is None
    return user.email if is_due else None


def _folded(email: str) -> bytes:
    return email.encode("utf-8", "surrogatepass").lower()


def _lifetime(kind: str, settings: MailSettings) -> int:
    return settings.reset_expires_seconds if kind == RESET_PASSWORD else settings.verify_expires_seconds
