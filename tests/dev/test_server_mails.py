"""Mails under `python app.py`: files and printed links without SMTP_URL, the real server with it."""

import re
import shutil
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from dev import postgres
from tests.support import SECRET_KEY, mail_server
from tests.support.actor import Actor
from tests.support.database import MakeDatabase, run_sql
from tests.support.development import Development, assert_refused, run_python, serving, wait_until
from tests.support.service import free_port

pytestmark = pytest.mark.slow

LINK = re.compile(r"^Mail to ada@example\.com: .+  (\S+#token=[\w-]{43})  \((\S+\.eml)\)$", re.MULTILINE)


def register_ada(started: Development) -> None:
    """Register ada, who then gets a mail with a link."""
    Actor(started.client).register()


@pytest.mark.parametrize("debug", ["0", "1"], ids=["plain", "with the reloader"])
def test_registration_leads_to_a_file_and_a_printed_link(tree: Path, debug: str) -> None:
    with serving(tree, BCRYPT_ROUNDS="4", FLASK_DEBUG=debug) as started:
        register_ada(started)

        assert wait_until(lambda: bool(LINK.search(started.output())))
        output = started.output()

    link, path = LINK.findall(output)[0]
    mail = message_from_bytes(Path(path).read_bytes(), policy=default)
    plain, html = mail.iter_parts()
    assert link.startswith("http://localhost:3000/verify-email#token=")
    assert Path(path).parent == tree / ".data/mails"
    assert mail["To"] == "ada@example.com"
    assert link in plain.get_content()
    assert f'href="{link}"' in html.get_content()
    assert f"Mails are not sent, but kept in {tree / '.data/mails'}. Their links are printed" in output
    assert "Traceback" not in output


def test_given_sender_and_frontend_are_used(tree: Path) -> None:
    (tree / ".env").write_text("FRONTEND_URL=https://app.example.com/\nMAIL_FROM=Ours <us@example.com>\n")
    with serving(tree, BCRYPT_ROUNDS="4") as started:
        register_ada(started)

        assert wait_until(lambda: bool(LINK.search(started.output())))
        ((link, path), *_) = LINK.findall(started.output())

    assert link.startswith("https://app.example.com/verify-email#token=")
    assert message_from_bytes(Path(path).read_bytes(), policy=default)["From"] == "Ours <us@example.com>"


def test_folder_that_cannot_be_used_is_a_line_and_the_mail_waits(tree: Path) -> None:
    with serving(tree, BCRYPT_ROUNDS="4") as started:
        folder = tree / ".data/mails"
        shutil.rmtree(folder, ignore_errors=True)
        folder.write_text("")
        register_ada(started)

        assert wait_until(lambda: "is tried again later" in started.output())
        url = postgres.find_running(tree / ".data/postgres")
        assert url
        assert wait_until(lambda: bool(run_sql(url, "SELECT id FROM auth_outbox WHERE last_error <> ''")))
        assert Actor(started.client).log_in().pair["token"]
        output = started.output()

    assert f"{folder} cannot be used (File exists)" in output
    assert "Traceback" not in output


def test_given_mail_server_gets_the_mails(tree: Path, make_database: MakeDatabase) -> None:
    url = make_database()
    with (
        mail_server.running() as server,
        serving(
            tree,
            DB_URL=url,
            SECRET_KEY=SECRET_KEY,
            BCRYPT_ROUNDS="4",
            SMTP_URL=server.url,
            MAIL_FROM="us@example.com",
            FRONTEND_URL="https://example.com",
        ) as started,
    ):
        register_ada(started)

        assert wait_until(lambda: bool(server.messages))
        output = started.output()

    assert server.messages[0].recipients == ["ada@example.com"]
    assert "Mails are not sent" not in output
    assert "#token=" not in output
    assert not (tree / ".data").exists()


def test_given_mail_server_needs_its_sender_and_frontend(tree: Path) -> None:
    done = run_python(tree, "app.py", PORT=str(free_port()), SMTP_URL="smtp://localhost")

    assert_refused(done, "MAIL_FROM", "FRONTEND_URL")
    assert not (tree / ".data").exists()
