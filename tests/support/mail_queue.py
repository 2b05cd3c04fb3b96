"""Mails in the outbox of a service in a process of its own, and what happens in the middle of a delivery."""

import threading
from collections.abc import Callable

from db import Database
from tests.support import SECRET_KEY
from tests.support.database import run_sql
from tests.support.staged_mail_server import StagedMailServer

EMPTY = "NOT EXISTS (SELECT FROM auth_outbox)"
# A command of the shell before the service: its workers look into the outbox more often.
SOONER = "sed -i 's/^POLL_SECONDS = [0-9.]*/POLL_SECONDS = 0.2/' auth/mail/sender.py"
_QUEUE = """
    INSERT INTO auth_outbox (kind, user_id, recipient, details)
    SELECT 'new_device', users.id, 'u' || number || '@example.com', '{"was_verified": "yes"}'
    FROM users, generate_series(1, %s) AS number
"""


def register_ada(url: str) -> str:
    """Make the schema and ada, whom every mail concerns, with a verified email. Return the URL."""
    Database(url).apply_schema()
    run_sql(url, "INSERT INTO users (username, email, password) VALUES ('ada', 'ada@example.com', '-')")
    run_sql(url, "INSERT INTO auth_emails (user_id, verified) SELECT id, email FROM users")
    return url


def environ(url: str, mail_server: StagedMailServer) -> dict[str, str]:
    """Return the environment of a service that sends its mails to `mail_server`."""
    return {
        "DB_URL": url,
        "SECRET_KEY": SECRET_KEY,
        "SMTP_URL": f"smtp://127.0.0.1:{mail_server.port}",
        "MAIL_FROM": "Streamly <no-reply@streamly.example>",
        "FRONTEND_URL": "https://app.streamly.example",
    }


def queue(url: str, count: int) -> list[str]:
    """Queue so many mails at once. Return their recipients, sorted."""
    run_sql(url, _QUEUE, count)
    return sorted(f"u{number}@example.com" for number in range(1, count + 1))


def once_at(stage: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Return what calls `act` the first time that a delivery comes to a stage."""
    is_due = threading.Lock()

    def on_stage(reached: str) -> None:
        if reached == stage and is_due.acquire(blocking=False):
            act()

    return on_stage
