"""`flask --app app mail ...`: what waits in the outbox and why, one more try, a test mail."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask.cli import with_appcontext

from auth.blueprint import bp
from auth.mail import waiting
from auth.mail.messages import ComposeError, Templates
from auth.mail.smtp import MailError, Transport
from auth.mail.waiting import WaitingMail
from auth.services import current_auth
from db import DatabaseUnavailable
from runtime import clock
from runtime.mail_settings import MailSettings

MAX_LINES = 100
TEST = "test"  # the kind of a test mail, which the outbox never has
_UNITS = [("days", 86400), ("h", 3600), ("min", 60), ("s", 1)]


@bp.cli.group("mail", invoke_without_command=True)
@with_appcontext
@click.pass_context
def mail_group(context: click.Context) -> None:
    """Show the mails that wait, and why. The commands do more."""
    if context.invoked_subcommand is None:
        _show()


@mail_group.command("retry")
def retry() -> None:
    """Make every mail that waits due now, also those that were given up, which get another day."""
    _require_mail()
    with _database_errors():
        count = current_auth().database.write(waiting.retry)
    click.echo(f"Mails that are due now: {count}")


@mail_group.command("send-test")
@click.argument("address")
def send_test(address: str) -> None:
    """Send a mail to ADDRESS at once, past the outbox, and tell what the mail server says."""
    settings = _require_mail()
    server = f"{settings.smtp.host}, port {settings.smtp.port} ({settings.smtp.security})"
    try:
        message = Templates(settings.mail_templates).compose(
            TEST,
            sender=settings.mail_from,
            recipient=address,
            values={"frontend_url": settings.frontend_url},
            now=clock.now(),
        )
        Transport(settings.smtp).deliver(message, recipient=address)
    except (ComposeError, MailError) as exc:
        raise click.ClickException(f"No mail was sent through {server}: {exc}") from None
    click.echo(f"{server} has accepted a mail to {address}.")


def _show() -> None:
    _require_mail()
    database = current_auth().database
    with _database_errors():
        mails = database.read(waiting.find_all, at_most=MAX_LINES)
        total = database.read(waiting.count) if len(mails) == MAX_LINES else len(mails)
    for each in mails:
        click.echo(_printable(_line(each)))
    if total > len(mails):
        click.echo(f"And {total - len(mails)} more.")
    if not mails:
        click.echo("No mail waits.")


def _require_mail() -> MailSettings:
    settings = current_auth().settings.mail
    if settings is None:
        raise click.ClickException(
            "Mail is off: SMTP_URL is not set. `make run` without it keeps its mails in .data/mails."
        )
    return settings


@contextmanager
def _database_errors() -> Iterator[None]:
    """Turn a database that is away into one sentence."""
    try:
        yield
    except DatabaseUnavailable as exc:
        raise click.ClickException(str(exc)) from None


def _line(mail: WaitingMail) -> str:
    """Return the line of a mail."""
    user = f"user {mail.user_id}" if mail.user_id is not None else "user by address"
    age = f"queued {_duration(mail.age_seconds)} ago"
    return "  ".join([str(mail.id), mail.kind, mail.recipient, user, age, _state(mail)])


def _state(mail: WaitingMail) -> str:
    tries = "1 try" if mail.tries == 1 else f"{mail.tries} tries"
    if mail.given_up:
        return f"given up after {tries}: {mail.last_error}"
    is_due = mail.due_in_seconds <= 0
    next_try = "due now" if is_due else f"next try in {_duration(mail.due_in_seconds)}"
    if mail.last_error:
        return f"{tries}, {next_try}: {mail.last_error}"
    # A claim clears the last error. What a killed worker has claimed is due again when the claim ends.
    return f"not tried yet, {next_try}" if not mail.tries else f"{tries}, is being sent, {next_try}"


def _duration(seconds: int) -> str:
    """Return a duration in its largest unit of which it has two, so that `119 s` is not `1 min`."""
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _printable(line: str) -> str:
    """Return a line without characters that steer a terminal: strangers typed the addresses."""
    return "".join(character if character.isprintable() else "?" for character in line)
