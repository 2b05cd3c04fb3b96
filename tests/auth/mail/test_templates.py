"""The templates of mails: ours, those of an operator's folder, and broken ones."""

import os
import re
from email.message import EmailMessage
from pathlib import Path

import pytest

from auth.mail import messages
from auth.mail.messages import FOLDER, KINDS, SAMPLES, BrokenTemplate, Templates
from config import ConfigError
from tests.support.documents import OPERATING, rows
from tests.support.message_texts import compose


def content(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    assert part
    return str(part.get_content())


def refusal(folder: Path) -> str:
    """Return why a start with this folder is refused."""
    with pytest.raises(ConfigError) as caught:
        Templates(folder).check()
    assert list(caught.value.problems) == ["MAIL_TEMPLATES"]
    assert caught.value.__cause__ is None
    text = str(caught.value)
    start = "The service cannot start: MAIL_TEMPLATES has a template that cannot be used: "
    assert text.startswith(start)
    assert "\n" not in text
    return text.removeprefix(start)


def test_our_templates_can_be_used() -> None:
    Templates(None).check()


def test_each_kind_has_a_text_and_a_page() -> None:
    names = {path.name for path in FOLDER.iterdir()}

    kinds = {f"{kind}.{part}" for kind in KINDS for part in ("txt", "html")}
    assert names == kinds | {"base.html", "details.txt", "signature.txt"}


def test_operators_guide_has_the_values_of_every_template() -> None:
    columns = ("template", "mail", "values, besides those that each mail has")

    described = {
        template.strip("`"): tuple(re.findall(r"`(\w+)`", values))
        for template, _, values in rows(OPERATING, *columns)
    }

    assert described == KINDS


def test_folder_without_templates_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("{{ broken")
    (tmp_path / "folder").mkdir()
    templates = Templates(tmp_path)

    templates.check()

    assert compose("new_device", templates=templates)["Subject"] == "New sign-in to your Streamly account"


def test_one_file_of_a_folder_replaces_ours(tmp_path: Path) -> None:
    (tmp_path / "new_device.txt").write_text(
        "Subject: Gr\u00fc\u00dfe, {{ name }} & co\r\n\r\nNeu: {{ device }}\r\n"
    )
    templates = Templates(tmp_path)

    templates.check()
    message = compose("new_device", {"name": "<Ada>"}, templates=templates)

    assert message["Subject"] == "Gr\u00fc\u00dfe, <Ada> & co"
    assert content(message, "plain") == "Neu: Firefox on Windows\n"
    assert "Somebody signed in to your account" in content(message, "html")
    assert "<title>Gr\u00fc\u00dfe, &lt;Ada&gt; &amp; co</title>" in content(message, "html")
    assert "Content-Language" not in message
    other = compose("verify_email", templates=templates)
    assert other["Subject"] == "Confirm your email address for Streamly"


def test_base_of_a_folder_is_that_of_all_pages(tmp_path: Path) -> None:
    (tmp_path / "base.html").write_text("\ufeff<p>House {{ link | default }}{% include 'footer.html' %}</p>")
    (tmp_path / "footer.html").write_text("<i>{{ name }}</i>")
    templates = Templates(tmp_path)

    templates.check()

    html = content(compose("verify_email", {"name": "<b>"}, templates=templates), "html")
    assert html == f"<p>House {SAMPLES['link']}<i>&lt;b&gt;</i></p>\n"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        pytest.param(
            "new_device.txt", "Subject: x\n\n{% if %}\n", "line 3: Expected an expression", id="syntax"
        ),
        pytest.param(
            "new_device.txt", "Subject: x\n{{ nam }}\n", "line 2: 'nam' is undefined", id="undefined"
        ),
        pytest.param(
            "new_device.html",
            "\n{% extends 'base.html' %}\n{% block after %}\n{{ link }}{% endblock %}",
            "line 4: 'link' is undefined",
            id="value of another mail",
        ),
        pytest.param("base.html", "<p>\n{{ nam }}", "line 2: 'nam' is undefined", id="base"),
        pytest.param(
            "new_device.txt",
            "Subject: x\n{% if not device %}\n{{ nam }}\n{% endif %}",
            "line 3: 'nam' is undefined",
            id="only without a value",
        ),
        pytest.param(
            "details.txt", "\n\n\n{{ 1 / 0 }}", "line 4: division by zero", id="failure of an include"
        ),
        pytest.param(
            "new_device.txt", "Subject: x\n{{ time | nope }}", "line 2: No filter named 'nope'.", id="filter"
        ),
        pytest.param("new_device.html", "\n{% include 'no.html' %}", "line 2: no.html", id="missing include"),
        pytest.param(
            "new_device.html", "{{ ''.__class__.__mro__ }}", "line 1: access to attribute", id="sandbox"
        ),
        pytest.param(
            "new_device.html", "{% extends 'new_device.html' %}", "maximum recursion depth", id="recursion"
        ),
        pytest.param("new_device.txt", "Hello\n", "line 1: needs a subject behind Subject:", id="no subject"),
        pytest.param(
            "new_device.txt", "Subject: {{ '' }}\nHello\n", "line 1: needs a subject", id="empty subject"
        ),
        pytest.param("verify_email.txt", "Subject: x\nHello\n", " lacks the link", id="text without link"),
        pytest.param("verify_email.html", "<p>Hello", " lacks the link", id="page without link"),
    ],
)
def test_broken_template_stops_the_start_with_its_file_and_line(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    (tmp_path / name).write_text(text)

    message = refusal(tmp_path)

    assert message.startswith(str(tmp_path / name))
    assert reason in message


def test_template_that_is_not_utf_8_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "base.html").write_bytes("Gr\u00fc\u00dfe".encode("latin-1"))

    assert refusal(tmp_path) == f"{tmp_path / 'base.html'}: the file is not UTF-8."


def test_folder_in_the_place_of_a_template_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "base.html").mkdir()

    assert refusal(tmp_path) == f"{tmp_path / 'base.html'}: Is a directory."


def test_template_that_cannot_be_read_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = tmp_path / "details.txt"
    read_text = Path.read_text

    def read(path: Path, encoding: str) -> str:  # root may read every file
        if path == unreadable:
            raise PermissionError(13, os.strerror(13), str(path))
        return read_text(path, encoding)

    monkeypatch.setattr(Path, "read_text", read)

    assert refusal(tmp_path) == f"{unreadable}: Permission denied."


def test_broken_template_of_ours_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "FOLDER", tmp_path)

    with pytest.raises(ConfigError, match=r"verify_email\.txt: verify_email\.txt"):
        Templates(None).check()


def test_template_that_fails_with_a_value_is_no_other_error(tmp_path: Path) -> None:
    (tmp_path / "new_device.txt").write_text(
        "Subject: x\n{{ 1 / (device | length) }}{{ nam if ip == '::1' }}"
    )
    templates = Templates(tmp_path)

    with pytest.raises(BrokenTemplate) as caught:
        compose("new_device", {"device": ""}, templates=templates)

    assert str(caught.value) == f"{tmp_path / 'new_device.txt'}, line 2: division by zero"


def test_templates_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "new_device.txt").write_text("Subject: before\n")
    templates = Templates(tmp_path)
    templates.check()

    (tmp_path / "new_device.txt").write_text("Subject: {{ broken")

    assert compose("new_device", templates=templates)["Subject"] == "before"
