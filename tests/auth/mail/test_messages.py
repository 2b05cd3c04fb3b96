"""The parts of messages: what they say, what they leave out, and what they escape."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth.mail.messages import KINDS, SAMPLES
from auth.mail.names import device_name, greeting_name, shown_username
from tests.support.budgets import examples
from tests.support.message_texts import (
    FRONTEND,
    HEADERS,
    LINK,
    LINK_KINDS,
    NOTICES,
    NOW,
    SENDER,
    TEMPLATES,
    Page,
    compose,
    headers,
    parsed,
    parts,
)

INJECTION = "x\r\nBcc: eve@evil.example\r\n\r\n<script>alert(1)</script>&\"'"


@pytest.mark.parametrize("kind", KINDS)
def test_mail_has_a_text_and_an_html_part_in_utf_8(kind: str) -> None:
    message = parsed(compose(kind, {"name": "Zo\u00eb"}))

    plain, html = message.iter_parts()

    for part, content_type in ((plain, "text/plain"), (html, "text/html")):
        assert part.get_content_type() == content_type
        assert part.get_content_charset() == "utf-8"
        assert "Hello Zo\u00eb," in part.get_content()
        assert FRONTEND in part.get_content()


@pytest.mark.parametrize(
    "absent", [(), ("name", "username", "ip", "device")], ids=["all values", "few values"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_both_parts_say_the_same(kind: str, absent: tuple[str, ...]) -> None:
    message = compose(kind, dict.fromkeys(absent, ""))

    both = parts(message)
    page = Page(both["text/html"]).text.replace("\u201c", '"').replace("\u201d", '"')
    below_the_button = r"\s+If the button does not work, copy this address into your browser:"
    of_page = re.sub(below_the_button, ":", page).split()
    assert of_page == f"{message['Subject']} {both['text/plain']}".split()


@pytest.mark.parametrize("kind", LINK_KINDS)
def test_link_does_not_show_the_address_of_its_mail(kind: str) -> None:
    both = parts(compose(kind, {"address": "victim+buy.at.evil.com@gmail.com"}))

    assert "evil" not in both["text/plain"] + both["text/html"]


@pytest.mark.parametrize("kind", LINK_KINDS)
def test_link_stands_alone_in_the_text_and_behind_a_button_in_the_html(kind: str) -> None:
    both = parts(compose(kind))

    html = Page(both["text/html"])
    assert both["text/plain"].splitlines().count(LINK) == 1
    assert html.addresses == [LINK, LINK, FRONTEND]
    assert LINK in html.text
    assert both["text/plain"].count("24 hours") == both["text/html"].count("24 hours") == 1
    assert "ignore this mail" in both["text/plain"].lower()
    assert "ignore this mail" in html.text.lower()


@pytest.mark.parametrize("kind", NOTICES)
def test_notice_says_when_and_from_where_and_what_to_do(kind: str) -> None:
    both = parts(compose(kind))

    for text in (both["text/plain"], Page(both["text/html"]).text):
        for line in ("Time: 2026-01-02 03:04 UTC", "IP address: 192.0.2.7", "Device: Firefox on Windows"):
            assert line in text.splitlines()
        assert "Was this not you?" in text
    assert LINK not in both["text/plain"] + both["text/html"]


@pytest.mark.parametrize("kind", NOTICES)
def test_notice_leaves_out_what_is_unknown(kind: str) -> None:
    both = parts(compose(kind, {"ip": "", "device": "", "name": ""}))

    for text in both.values():
        assert "Hello," in text
        assert not re.search("IP address|Device:", text)


def test_value_that_is_absent_is_empty() -> None:
    message = TEMPLATES.compose(
        "new_device", sender=SENDER, recipient="ada@example.com", values={"time": "now"}, now=NOW
    )

    assert parts(message)["text/plain"].startswith("Hello,\n")


@pytest.mark.parametrize("kind", KINDS)
def test_html_has_no_picture_form_or_style_sheet(kind: str) -> None:
    html = Page(parts(compose(kind))["text/html"])

    allowed = {"html", "head", "meta", "title", "body", "div", "p", "a", "strong", "br"}
    assert set(html.names) <= allowed
    assert set(html.addresses) <= {LINK, FRONTEND}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", SAMPLES)
def test_value_is_escaped_in_html_and_stays_in_its_line(kind: str, field: str) -> None:
    message = compose(kind, {field: INJECTION})

    received, both = parsed(message), parts(message)
    assert sorted(received.keys()) == HEADERS
    assert "script" not in Page(both["text/html"]).names
    assert "\nBcc:" not in both["text/plain"]
    assert not re.search(r"<script>|&\"|\"'", both["text/html"])


URL = re.compile(r"(?:[a-z]+:)?//[^\s<>\"]+|www\.\S+|\b\w+\.\w+", re.IGNORECASE)
ALLOWED_URLS = {LINK, FRONTEND, *URL.findall("ada@example.com 192.0.2.7")}
names = st.text(max_size=60) | st.from_regex(
    r"[A-Za-z]{1,8}([ .'/:-]{1,3}[a-z0-9]{1,8}){0,3}", fullmatch=True
)


@given(st.sampled_from([*KINDS]), names, names, st.text(max_size=40) | st.just("Firefox/1 Windows evil.com"))
@example("verify_email", "http://evil.com", "evil.com", "evil.com")
@examples
def test_mail_has_no_address_but_ours_whatever_the_user_is_called(
    kind: str, first_name: str, username: str, user_agent: str
) -> None:
    shown = {"name": greeting_name(first_name), "username": shown_username(username)}

    message = compose(kind, shown | {"device": device_name(user_agent)})

    assert headers(message) == HEADERS
    both = parts(message)
    for text in (both["text/plain"], Page(both["text/html"]).text):
        assert set(URL.findall(text)) <= ALLOWED_URLS
        assert f"Hello{' ' * bool(shown['name'])}{shown['name']}," in text.splitlines()


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        pytest.param(
            "two_factor_on",
            "The second factor stays on after the reset. Ask the operator of this service to remove it.",
            id="on",
        ),
        pytest.param("two_factor_off", "sign in and switch the second factor on again.", id="off"),
        pytest.param("recovery_code_used", "sign in and make new recovery codes:", id="recovery code"),
    ],
)
def test_notice_of_the_second_factor_says_what_to_do_after_the_reset(kind: str, advice: str) -> None:
    text = " ".join(parts(compose(kind))["text/plain"].split())

    assert text.index("reset your password at once") < text.index(FRONTEND) < text.index(advice)


def test_removed_second_factor_may_be_the_work_of_the_operator() -> None:
    text = " ".join(parts(compose("two_factor_off", {"ip": "", "device": ""}))["text/plain"].split())

    assert "in your account or by the operator of this service" in text
    assert "If you did this, or asked the operator for it, all is well." in text
