"""The settings of mail, a group of config.py, and the kinds of their values. Pure."""

import re
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from runtime.declarations import setting
from runtime.settings import Rate, WholeNumber, rate, switch

STARTTLS, IMPLICIT_TLS, NO_TLS = "STARTTLS", "implicit TLS", "no TLS"
DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
MAX_LINK_SECONDS = 31 * 24 * 3600

_SMTP_RULE = (
    "must be a URL like smtp://user:password@host:587 or smtps://user:password@host:465, with special"
    " characters in user and password percent-encoded; behind smtp:// the part ?tls=off or ?tls=required may"
    " follow"
)
_SENDER_RULE = "must be an address with or without a name, like Streamly <no-reply@example.com>"
_FRONTEND_RULE = "must be an address like https://app.example.com, without ? and #"
_FOLDER_RULE = "must be a folder that exists"
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_MAILBOX = re.compile(r"[^@\s<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,253}")
_CONTROL_CHARACTERS = re.compile(r"[\0-\x1f\x7f]")


@dataclass(frozen=True)
class SmtpServer:
    """A mail server. security: STARTTLS, IMPLICIT_TLS or NO_TLS. username: "" if there is no login."""

    host: str
    port: int
    security: str
    username: str = ""
    password: str = field(default="", repr=False)


def smtp_url(raw: str) -> SmtpServer:
    """Return the mail server that a URL describes.

    smtp:// takes STARTTLS, which the server must offer. A loopback host and `?tls=off` do without.
    """
    parts = _split(raw, _SMTP_RULE)
    tls = dict(parse_qsl(parts.query, keep_blank_values=True))
    host, is_smtps = parts.hostname or "", parts.scheme == "smtps"
    if (
        parts.scheme not in DEFAULT_PORTS
        or not _HOST.fullmatch(host)
        or parts.path not in ("", "/")
        or parts.fragment
        or bool(parts.username) != bool(parts.password)
        or tls not in ({}, {"tls": "required"}, *([] if is_smtps else [{"tls": "off"}]))
    ):
        raise ValueError(_SMTP_RULE)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if _CONTROL_CHARACTERS.search(username + password):
        raise ValueError(_SMTP_RULE)
    if is_smtps:
        security = IMPLICIT_TLS
    else:
        is_plain = tls.get("tls", "off" if _is_loopback(host) else "required") == "off"
        security = NO_TLS if is_plain else STARTTLS
    return SmtpServer(
        host, _port(parts, _SMTP_RULE) or DEFAULT_PORTS[parts.scheme], security, username, password
    )


def sender(raw: str) -> Address:
    """Return the address of a text like `Streamly <no-reply@example.com>`."""
    name, mailbox = parseaddr(raw)
    if not _MAILBOX.fullmatch(mailbox) or not mailbox.isascii() or _CONTROL_CHARACTERS.search(raw):
        raise ValueError(_SENDER_RULE)
    return Address(name, addr_spec=mailbox)


def frontend_url(raw: str) -> str:
    """Return the address of the web frontend, without a slash at the end."""
    parts = _split(raw, _FRONTEND_RULE)
    is_plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain or not raw.isascii():
        raise ValueError(_FRONTEND_RULE)
    if re.search(r"[\s\0-\x1f\"'<>\\^`{|}?#]", raw):
        raise ValueError(_FRONTEND_RULE)
    _port(parts, _FRONTEND_RULE)
    return raw.rstrip("/")


def folder(raw: str) -> Path:
    path = Path(raw)
    if "\0" in raw or not path.is_dir():
        raise ValueError(_FOLDER_RULE)
    return path.resolve()


def _split(raw: str, rule: str) -> SplitResult:
    try:
        return urlsplit(raw)
    except ValueError:  # its text quotes parts of the URL
        raise ValueError(rule) from None


def _port(parts: SplitResult, rule: str) -> int | None:
    try:
        port = parts.port
    except ValueError:  # its text quotes the port, which may be a part of a password
        raise ValueError(rule) from None
    if port == 0:
        raise ValueError(rule)
    return port


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True)
class MailSettings:
    """The settings of mail. Settings.mail is None as long as they are unset: mail is off."""

    smtp: SmtpServer = setting(
        smtp_url,
        name="SMTP_URL",
        secret=True,
        example="smtp://user:password@mail.example.com:587",
        help="The mail server, `smtp://user:password@host:587` with STARTTLS, which it must offer, or"
        " `smtps://user:password@host:465` with TLS from the beginning. Special characters are"
        " percent-encoded. Loopback hosts, and `smtp://host?tls=off`, do without TLS; `?tls=required` asks"
        " for it there, too. Unset: no mail is sent, and what needs mail answers 404 `feature_off`, but"
        " `make run` keeps each mail in its data folder and prints the link.",
    )
    mail_from: Address = setting(
        sender,
        example="Streamly <no-reply@example.com>",
        help="The sender of every mail. Required with `SMTP_URL`.",
    )
    frontend_url: str = setting(
        frontend_url,
        example="https://app.example.com",
        help="The web frontend, to whose pages /verify-email and /reset-password the links in mails lead."
        " Required with `SMTP_URL`.",
    )
    require_verified_email: bool = setting(
        switch,
        default=False,
        help="Whether a login takes a verified email. A registration then opens no session.",
    )
    verify_expires_seconds: int = setting(
        WholeNumber(60, MAX_LINK_SECONDS),
        default=86400,
        help="How long the link that verifies an address is valid, in seconds.",
    )
    reset_expires_seconds: int = setting(
        WholeNumber(60, MAX_LINK_SECONDS),
        default=1800,
        help="How long the link that resets a password is valid, in seconds.",
    )
    limit_mail_requests: Rate = setting(
        rate,
        default=Rate(20, "20m"),
        help="Requests that may send a mail, for each client address, if `RATE_LIMITS` is on.",
    )
    limit_mailbox: Rate = setting(
        rate,
        default=Rate(3, "1h"),
        help="Mails with a link to one address, if `RATE_LIMITS` is on. Beyond it the answer is the same, and"
        " no mail goes out.",
    )
    mail_templates: Path | None = setting(
        folder,
        default=None,
        help="A folder with templates that replace those of auth/mail/templates/.",
    )
