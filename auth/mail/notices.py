"""Notices: mails without a link that tell owners what has happened to their account."""

from collections.abc import Mapping
from datetime import datetime, timezone

from auth.client import Client
from auth.mail import names, outbox
from auth.mail.outbox import NewMail
from db import Cursor

PASSWORD_CHANGED, PASSWORD_RESET, EMAIL_CHANGED = "password_changed", "password_reset", "email_changed"
ACCOUNT_LOCKED, NEW_DEVICE = "account_locked", "new_device"
TWO_FACTOR_ON, TWO_FACTOR_OFF = "two_factor_on", "two_factor_off"
RECOVERY_CODE_USED = "recovery_code_used"


def details(client: Client, now: datetime) -> dict[str, str]:
    """Return what a notice tells of a request: time, ip and device; "" for what is unknown. now: aware."""
    return {
        "time": time(now),
        "ip": client.ip,
        "device": names.device_name(client.user_agent),
    }


def time(now: datetime) -> str:
    """Return a time as a notice tells it. now: aware."""
    return f"{now.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def queue_lock(cur: Cursor, user_id: int | None, details: Mapping[str, str]) -> None:
    """Queue the notice of a lock. user_id: None if there is no such user.

    Timing attack: a write for existing accounts alone would reveal which ones exist. So there is a row for
    nobody, too, which the sender drops.
    """
    if user_id is None:
        outbox.queue(cur, NewMail(ACCOUNT_LOCKED, recipient="", details=details))
    else:
        outbox.queue_notice(cur, ACCOUNT_LOCKED, user_id=user_id, details=details)
