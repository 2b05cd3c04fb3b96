"""What the service says and does once, when it starts."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import click
from jwt.warnings import InsecureKeyLengthWarning

from config import MIN_KEY_BYTES, MIN_SAFE_BCRYPT_ROUNDS, SAMPLE_SECRET_KEY, Settings
from db import Database, DatabaseUnavailable, leaves_encryption_open
from runtime.mail_settings import NO_TLS, MailSettings, is_loopback
from runtime.settings import bare

SAMPLE_SECRET_KEYS = frozenset(
    {"change-me", "changeme", "secret", "dev", "your-secret-key", SAMPLE_SECRET_KEY}
)

log = logging.getLogger("app")


def warn_operator(settings: Settings) -> None:
    """Log one line for each setting that is ignored or insecure."""
    for doubt in settings.doubts:
        log.warning("ignored_setting: %s", doubt)
    for warning in insecure_settings(settings, os.environ):
        log.warning("insecure_setting: %s", warning)
    # PyJWT warns of a short key as well, with every token.
    warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)


def insecure_settings(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each setting that works and that an operator should mend all the same.

    environ: of the process, in which libpq finds PGSSLMODE.
    """
    sentences = []
    if leaves_encryption_open(settings.db_url, environ):
        sentences.append(
            "DB_URL names another host and has no sslmode: the connection may be unencrypted; add"
            " sslmode=verify-full and sslrootcert, or sslmode=disable if the network is your own"
        )
    if bare(settings.secret_key) != settings.secret_key:
        sentences.append(
            "SECRET_KEY begins or ends with a line end, a blank or quotes, which are part of it: a service"
            " that has it without them refuses the tokens of this one"
        )
    if bare(settings.secret_key) in SAMPLE_SECRET_KEYS:
        sentences.append("SECRET_KEY is a sample value: anybody who looks it up can sign tokens")
    elif len(settings.secret_key.encode()) < MIN_KEY_BYTES:
        sentences.append(
            f"SECRET_KEY is shorter than {MIN_KEY_BYTES} bytes: it can be guessed, tokens forged"
        )
    if settings.bcrypt_rounds < MIN_SAFE_BCRYPT_ROUNDS:
        sentences.append(f"BCRYPT_ROUNDS is below {MIN_SAFE_BCRYPT_ROUNDS}: stolen hashes are cheap to guess")
    if settings.mail:
        sentences += _insecure_mail(settings.mail)
    return sentences


def _insecure_mail(mail: MailSettings) -> Iterator[str]:
    """Yield a sentence for each setting of mail that lets others read a password or a token."""
    if mail.smtp.password and mail.smtp.security == NO_TLS and not is_loopback(mail.smtp.host):
        yield "SMTP_URL has a password and ?tls=off: the password travels unencrypted; leave out ?tls=off"
    frontend = urlsplit(mail.frontend_url)
    if frontend.scheme == "http" and not is_loopback(frontend.hostname or ""):
        yield (
            "FRONTEND_URL begins with http://: the page that gets the token of a link can be replaced on its"
            " way; use https://"
        )


def apply_schema(database: Database) -> None:
    """Create what schema.sql describes and the database lacks. A failure does not stop the start."""
    if click.get_current_context(silent=True):  # `flask init-db` does so itself, with a longer deadline
        return
    try:
        database.apply_schema()
    except DatabaseUnavailable as exc:
        log.error("schema_not_applied: %s; the service answers 503 until that is mended", exc)
