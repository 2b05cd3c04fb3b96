"""The settings of mail, a group of config.py, and the kinds of their values. Pure."""

import re
from dataclasses import dataclass, field
from email.headerregistry import Address
from ipaddress import IPv4Address, IPv6Address, ip_address
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
MAX_HOST_CHARACTERS = 253
MAX_USERNAME_CHARACTERS = 64  # of the part before the @ (RFC 5321 section 4.5.3.1.1)
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_IPV6_IN_BRACKETS = r"\[(?=[^]]*:)[0-9A-Fa-f:.]+\]"
# urlsplit of Python 3.10 lets more pass.
_HOST_AND_PORT = re.compile(rf"(?:{_IPV6_IN_BRACKETS}|[^][:]*)(?::[^][:]*)?")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_SENDER = re.compile(
    rf"(?:(\"[^\"\\]*\"\s*|[^<>@,;:()\[\]\\\"]*)<)?({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)(?(1)>)"
)
_FRONTEND = re.compile(
    rf"https?://({_IPV6_IN_BRACKETS}|[A-Za-z0-9._-]+)(:[0-9]+)?(/[A-Za-z0-9._~!$&()*+,;=:@%/-]*)?"
)
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
    host, is_smtps = parts.hostname or "", parts.scheme == "smtps"
    tls = parse_qsl(parts.query, keep_blank_values=True)
    allowed = [[], [("tls", "required")]] if is_smtps else [[], [("tls", "required")], [("tls", "off")]]
    if (
        parts.scheme not in DEFAULT_PORTS
        or not _is_host(host)
        or not _HOST_AND_PORT.fullmatch(parts.netloc.rpartition("@")[2])
        or parts.path not in ("", "/")
        or "#" in raw
        or bool(parts.username) != bool(parts.password)
        or tls not in allowed
    ):
        raise ValueError(_SMTP_RULE)
    if is_smtps:
        security = IMPLICIT_TLS
    elif tls == [("tls", "off")] or (not tls and is_loopback(host)):
        security = NO_TLS
    else:
        security = STARTTLS
    port = _port(parts, _SMTP_RULE) or DEFAULT_PORTS[parts.scheme]
    username, password = (_unquoted(text or "") for text in (parts.username, parts.password))
    return SmtpServer(host, port, security, username, password)


def sender(raw: str) -> Address:
    """Return the address of a text like `Streamly <no-reply@example.com>`."""
    parts = _SENDER.fullmatch(raw.strip())
    if not parts:
        raise ValueError(_SENDER_RULE)
    name, username, domain = (parts[1] or "").strip(' "'), parts[2], parts[3]
    if not name.isprintable() or len(username) > MAX_USERNAME_CHARACTERS:
        raise ValueError(_SENDER_RULE)
    return Address(name, username, domain)


def frontend_url(raw: str) -> str:
    """Return the address of the web frontend, without a slash at the end."""
    parts = _split(raw, _FRONTEND_RULE)
    if not _FRONTEND.fullmatch(raw) or not _is_host(parts.hostname or ""):
        raise ValueError(_FRONTEND_RULE)
    _port(parts, _FRONTEND_RULE)
    return raw.rstrip("/")


def folder(raw: str) -> Path:
    """Return a folder that the service can list."""
    try:
        path = Path(raw).resolve()
        next(path.iterdir(), None)
    except (OSError, ValueError):  # ValueError: NUL
        raise ValueError(_FOLDER_RULE) from None
    return path


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine. Names are not looked up."""
    address = _ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback if address else host.lower() == "localhost"


def _split(raw: str, rule: str) -> SplitResult:
    """Return the parts of a URL. urlsplit alone would drop line ends without a word."""
    if not raw.isprintable() or " " in raw:
        raise ValueError(rule)
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


def _is_host(text: str) -> bool:
    """Return whether a text is a host name or an IP address."""
    is_name = len(text) <= MAX_HOST_CHARACTERS and bool(_HOST.fullmatch(text))
    return is_name or _ip_address(text) is not None


def _ip_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def _unquoted(text: str) -> str:
    """Return a percent-encoded part of a URL as it is meant, without control characters."""
    try:
        decoded = unquote(text, errors="strict")
        decoded.encode()
    except UnicodeError:  # its text quotes parts of the password
        raise ValueError(_SMTP_RULE) from None
    if _CONTROL_CHARACTERS.search(decoded):
        raise ValueError(_SMTP_RULE)
    return decoded


@dataclass(frozen=True)
class MailSettings:
    """The settings of mail. Settings.mail is None as long as SMTP_URL is unset: mail is off."""

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
        rule=True,
        help="Whether a login needs a verified email. A registration then opens no session. It cannot be on"
        " without `SMTP_URL`.",
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
        help="Mails to one address, if `RATE_LIMITS` is on: those with a link, and notices if the address is"
        " not verified. Beyond it the answer is the same, and no mail goes out.",
    )
    mail_templates: Path | None = setting(
        folder,
        default=None,
        help="A folder with templates that replace those of auth/mail/templates/.",
    )
