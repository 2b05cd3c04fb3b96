"""`flask --app app mail send-test ADDRESS`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from runtime.mail_settings import sender, smtp_url
from tests.features.mail_admin.conftest import Run
from tests.support import mail_server
from tests.support.apps import NO_DATABASE, app_on
from tests.support.mail_server import MailServer
from tests.support.mails import mail_settings
from tests.support.service import free_port

ADDRESS = "ada@example.com"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server.running() as server:
        yield server


def service_with(smtp: str, **changes: object) -> Flask:
    """A service whose database is away: a test mail needs none."""
    return app_on(NO_DATABASE, mail=mail_settings(smtp=smtp_url(smtp), **changes))


def test_test_mail_arrives_and_the_server_is_named(run: Run, server: MailServer) -> None:
    outcome = run("send-test", ADDRESS, app=service_with(server.url))

    assert outcome == (0, f"localhost, port {server.port} (no TLS) has accepted a mail to {ADDRESS}.\n")
    (mail,) = server.messages
    assert mail.recipients == [ADDRESS]
    assert mail.sender == "no-reply@streamly.example"
    assert mail.message["Subject"] == "Test mail from Streamly"
    plain, html = mail.message.iter_parts()
    for part in (plain, html):
        assert "shows that Streamly can send mails" in part.get_content()
        assert "https://app.streamly.example" in part.get_content()


def test_refusal_has_the_words_of_the_server(run: Run, server: MailServer) -> None:
    server.replies["RCPT"] = "550 no such \x1b[2Juser"

    status, output = run("send-test", ADDRESS, app=service_with(server.url))

    assert status == 1
    assert output.startswith(f"Error: No mail was sent through localhost, port {server.port} (no TLS): ")
    assert "550" in output
    assert "no such" in output
    assert "\x1b" not in output
    assert output.count("\n") == 1
    assert server.messages == []


def test_server_that_is_down_and_its_password_stay_apart(run: Run) -> None:
    app = service_with(f"smtp://mailer:hunter2@localhost:{free_port()}")

    status, output = run("send-test", ADDRESS, app=app)

    assert status == 1
    assert "cannot be reached: Connection refused" in output
    assert "hunter2" not in output
    assert "mailer" not in output


@pytest.mark.parametrize("address", ["nobody", "", "a@b\nBcc: c@d", "\udcff@example.com"], ids=ascii)
def test_bad_address_is_one_sentence(run: Run, server: MailServer, address: str) -> None:
    status, output = run("send-test", address, app=service_with(server.url))

    assert status == 1
    assert output.count("\n") == 1
    assert "address" in output
    assert server.connections == 0


def test_broken_template_is_one_sentence_with_its_file(run: Run, server: MailServer, tmp_path: Path) -> None:
    app = service_with(server.url, mail_templates=tmp_path, mail_from=sender("no-reply@example.com"))
    (tmp_path / "test.txt").write_text("Subject: {{ nam }}\n")  # after the check at the start

    status, output = run("send-test", ADDRESS, app=app)

    assert status == 1
    assert f"{tmp_path / 'test.txt'}, line 1" in output
    assert output.count("\n") == 1


def test_send_test_without_an_address_tells_how_it_is_used(run: Run) -> None:
    status, output = run("send-test")

    assert status == 2
    assert "Missing argument 'ADDRESS'" in output
