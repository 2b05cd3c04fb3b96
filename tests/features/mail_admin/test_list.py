"""`flask --app app mail`: what waits, and why."""

import pytest
from flask import Flask

from auth.mail import outbox
from tests.features.mail_admin.conftest import Queue, Run
from tests.support import SECRET_KEY
from tests.support.actor import Actor
from tests.support.apps import NO_DATABASE, app_on
from tests.support.database import Sql
from tests.support.mails import mail_settings

DOWN = "the mail server cannot be reached: Connection refused"
NO_SUCH_USER = "the mail server answered RCPT with 550: no such user"


def test_list_has_one_line_a_mail_with_its_state_and_reason(run: Run, queue: Queue, ada: Actor) -> None:
    given_up = queue(user_id=ada.id, age="3 days", tries=1, last_error=NO_SUCH_USER, given_up=True)
    new = queue(user_id=ada.id)
    postponed = queue(
        "reset_password", "typed@example.com", age="119 s", tries=2, due_in="59.5 s", last_error=DOWN
    )
    overdue = queue("new_device", user_id=ada.id, age="3 h", tries=9, due_in="-1 s", last_error=DOWN)

    status, output = run()

    user = f"user {ada.id}"
    assert status == 0
    assert [line.split("  ") for line in output.splitlines()] == [
        [str(new), "verify_email", "ada@example.com", user, "queued 0 s ago", "not tried yet, due now"],
        [
            *[str(postponed), "reset_password", "typed@example.com", "user by address", "queued 119 s ago"],
            f"2 tries, next try in 60 s: {DOWN}",
        ],
        [
            *[str(overdue), "new_device", "ada@example.com", user, "queued 3 h ago"],
            f"9 tries, due now: {DOWN}",
        ],
        [
            *[str(given_up), "verify_email", "ada@example.com", user, "queued 3 days ago"],
            f"given up after 1 try: {NO_SUCH_USER}",
        ],
    ]


def test_mail_that_a_worker_sends_at_this_moment_is_told(
    run: Run, queue: Queue, service: Flask, ada: Actor
) -> None:
    queue(user_id=ada.id, tries=1, last_error=DOWN)
    assert service.extensions["auth"].database.write(outbox.claim)

    assert "2 tries, is being sent, next try in 5 min" in run()[1]


def test_empty_outbox_is_a_sentence(run: Run) -> None:
    assert run() == (0, "No mail waits.\n")


@pytest.mark.parametrize(
    ("count", "lines", "last"),
    [(100, 100, "-99@"), (103, 101, "And 3 more.")],
    ids=["as many as are shown", "more"],
)
def test_list_has_100_lines_and_tells_how_many_more_wait(
    run: Run, sql: Sql, count: int, lines: int, last: str
) -> None:
    sql(
        "INSERT INTO auth_outbox (kind, recipient, details)"
        " SELECT 'reset_password', 'user-' || number || '@example.com', '{}'"
        " FROM generate_series(0, %s) AS number",
        count - 1,
    )

    status, output = run()

    assert status == 0
    assert len(output.splitlines()) == lines
    assert "user-0@" in output.splitlines()[0]
    assert last in output.splitlines()[-1]


def test_characters_that_steer_a_terminal_are_shown_as_question_marks(run: Run, queue: Queue) -> None:
    queue(
        recipient="a\x1b[2J\x9b\u202e@example.com",
        tries=1,
        last_error="\x1b]0;title\x07line\nend",
        due_in="9 s",
    )

    _, output = run()

    assert "a?[2J??@example.com" in output
    assert output.endswith("?]0;title?line?end\n")


def test_address_is_in_no_log(run: Run, queue: Queue, capfd: pytest.CaptureFixture[str]) -> None:
    queue()
    run()
    run("retry")

    assert "ada@example.com" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("words", [(), ("retry",)], ids=["list", "retry"])
def test_database_that_is_away_is_one_sentence(run: Run, words: tuple[str, ...]) -> None:
    status, output = run(*words, app=app_on(NO_DATABASE, mail=mail_settings()))

    assert status == 1
    assert output.startswith("Error: ")
    assert output.count("\n") == 1
    assert "hunter2" not in output
    assert SECRET_KEY not in output


@pytest.mark.parametrize("words", [(), ("retry",), ("send-test", "ada@example.com")], ids=" ".join)
def test_mail_that_is_off_is_one_sentence(run: Run, app: Flask, words: tuple[str, ...]) -> None:
    assert run(*words, app=app) == (
        1,
        "Error: Mail is off: SMTP_URL is not set. `make run` without it keeps its mails in .data/mails.\n",
    )


def test_help_names_the_commands_also_while_mail_is_off(run: Run, app: Flask) -> None:
    status, output = run("--help", app=app)

    assert status == 0
    assert "retry" in output
    assert "send-test" in output
