"""The headers of messages: those of an automatic mail, and no other, whatever the values are."""

import re
from email.headerregistry import Address
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth.mail.messages import COMMON_VALUES, KINDS, BadRecipient, Templates
from tests.support.budgets import examples
from tests.support.message_texts import HEADERS, NOW, compose, parsed

INJECTION = "x\r\nBcc: eve@evil.example\r\n\r\n<b>&"


@pytest.mark.parametrize("kind", KINDS)
def test_mail_has_the_headers_of_an_automatic_mail(kind: str) -> None:
    message = parsed(compose(kind))

    assert sorted(message.keys()) == HEADERS
    assert message["From"] == "Streamly <no-reply@example.com>"
    assert message["To"] == "ada@example.com"
    assert message["Date"].datetime == NOW
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.com>", message["Message-ID"])
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == "en"
    assert message.get_content_type() == "multipart/alternative"
    assert "Streamly" in message["Subject"]


def test_every_message_has_an_id_of_its_own() -> None:
    assert compose()["Message-ID"] != compose()["Message-ID"]


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind in KINDS for field in (*COMMON_VALUES, *KINDS[kind])]
)
def test_value_in_a_subject_adds_no_header(tmp_path: Path, kind: str, field: str) -> None:
    (tmp_path / f"{kind}.txt").write_text(f"Subject: {{{{ {field} }}}}\n")
    templates = Templates(tmp_path)

    message = parsed(compose(kind, {field: INJECTION}, templates=templates))

    assert sorted(message.keys()) == [name for name in HEADERS if name != "Content-Language"]
    assert message["Subject"] == "x Bcc: eve@evil.example <b>&"


@given(st.text(max_size=300))
@example("=?utf-8?q?a=0d=0aBcc:_eve=40evil.example?=")
@example("\ud800")
@example("\u00e9" * 300)
@examples
def test_any_text_in_a_subject_is_one_bounded_line(subject_template: Templates, text: str) -> None:
    message = parsed(compose("new_device", {"device": text}, templates=subject_template))

    printable = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    assert message["Subject"].replace("= ?", "=?") == f"To {printable}".replace("= ?", "=?")[:150].strip()
    assert message["To"] == "ada@example.com"
    assert "Bcc" not in message


@pytest.fixture(scope="module")
def subject_template(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    folder = tmp_path_factory.mktemp("mails")
    (folder / "new_device.txt").write_text("Subject: To {{ device }}\n{{ time }}")
    return Templates(folder)


@pytest.mark.parametrize(
    "recipient",
    [
        *[
            "ada@example.com\r\nBcc: eve@evil.example",
            "ada@example.com\n",
            "\rada@example.com",
            "ada@exa\nmple.com",
        ],
        *[
            "ada@example.com, eve@evil.example",
            "Ada <ada@example.com>",
            "<ada@example.com>",
            '"a b"@example.com',
        ],
        *[
            "ada",
            "",
            "@",
            "@example.com",
            "ada@",
            "ada@eve@example.com",
            "ada @example.com",
            "ada@example.com ",
        ],
        *["ada@example..com", "ada@.com", "ada@com.", "group: ada@example.com;", "ada(eve)@example.com"],
        *["ada\0@example.com", "ada\x7f@example.com", "ada\u202e@example.com", "ada\u2028@example.com"],
        *["ada\ud800@example.com", "=?utf-8?q?a=0d=0ab?=@example.com", "ada@=?utf-8?q?evil?=.com"],
        *["ada@evil\u3002com", "x" * 320 + "@example.com"],
    ],
)
def test_recipient_that_a_header_cannot_hold_is_refused(recipient: str) -> None:
    with pytest.raises(BadRecipient) as caught:
        compose(recipient=recipient)

    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == "the address of the recipient cannot stand in a mail"


@pytest.mark.parametrize(
    "recipient",
    [
        *["a..b@example.com", ".a.@example.com", "!#$%&'*+/=?^_`{|}~-.@example.com", "ada@127.0.0.1"],
        *["j\u00f6rg@b\u00fccher.example", "\u7528\u6237@\u4f8b\u5b50.example", "ada@b\u00fccher.example"],
        "x" * 243 + "@example.com",
        f"a@{'b' * 60}.{'c' * 60}.{'d' * 60}.com",
    ],
)
def test_mail_goes_to_every_address_that_a_user_may_have(recipient: str) -> None:
    message = parsed(compose(recipient=recipient))

    (address,) = message["To"].addresses
    assert f"{address.username}@{address.domain}" == recipient
    assert sorted(message.keys()) == HEADERS


@pytest.mark.parametrize("recipient", ["j\u00f6rg@example.com", "ada@b\u00fccher.example"])
def test_non_ascii_address_is_written_as_it_is(recipient: str) -> None:
    # RFC 6531 and 6532; an encoded word in an address would be another address (RFC 2047, section 5).
    assert f"To: {recipient}\r\n".encode() in compose(recipient=recipient).as_bytes()


specials = st.text(st.sampled_from("ab\u00e9.@=?_,;:<>()[]\\\"' \r\n\t\0"), max_size=12)


@given(specials | st.text(max_size=30))
@examples
def test_any_recipient_is_written_to_or_refused(recipient: str) -> None:
    try:
        message = parsed(compose(recipient=recipient))
    except BadRecipient:
        return

    (address,) = message["To"].addresses
    assert f"{address.username}@{address.domain}" == recipient
    assert sorted(message.keys()) == HEADERS


@pytest.mark.parametrize(
    "recipient", ["ada@example.com", "x" * 243 + "@example.com", "j\u00f6rg@example.com"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_no_line_is_too_long_for_smtp(kind: str, recipient: str) -> None:
    values = {
        "name": "\u5c71" * 2000,
        "link": f"https://a.example/{'x' * 3000}",
        "frontend_url": "\u00e9" * 2000,
    }
    sender = Address("\u00e9" * 400, "no-reply", f"{'b' * 60}.{'c' * 60}.com")

    raw = compose(kind, values, recipient=recipient, sender=sender).as_bytes()

    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", raw)


def test_sender_without_a_name_is_called_by_the_domain() -> None:
    message = parsed(compose(sender=Address("", "no-reply", "example.com")))

    assert message["Subject"] == "Confirm your email address for example.com"


def test_sender_and_subject_may_have_letters_of_any_script() -> None:
    message = compose(sender=Address("Str\u00f6me, Inc.", "no-reply", "example.com"))

    assert message.as_bytes().isascii()
    assert parsed(message)["From"].addresses[0].display_name == "Str\u00f6me, Inc."
    assert parsed(message)["Subject"] == "Confirm your email address for Str\u00f6me, Inc."
