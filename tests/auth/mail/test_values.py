"""What the templates of a mail get to show."""

import pytest

from auth.mail import messages, values
from auth.mail.links import Letter
from auth.users import User

URL = "https://app.example.com"
ADA = User(1, "ada", "ada@example.com", "Ada", None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (60, "1 minute"),
        (119, "1 minute"),
        (120, "2 minutes"),
        (1800, "30 minutes"),
        (3600, "60 minutes"),
        (7199, "119 minutes"),
        (7200, "2 hours"),
        (86400, "24 hours"),
        (100_000, "27 hours"),
        (172_800, "2 days"),
        (2_678_400, "31 days"),
    ],
)
def test_duration_is_told_in_whole_units_and_never_longer_than_it_is(seconds: int, text: str) -> None:
    assert values.duration(seconds) == text


def test_letter_with_a_link_has_all_values_of_its_kind() -> None:
    letter = Letter("verify_email", ADA, "new@example.com", {}, f"{URL}/verify-email#token=t", 86400)

    shown = values.of_letter(letter, frontend_url=URL)

    assert shown == {
        "name": "Ada",
        "username": "ada",
        "frontend_url": URL,
        "link": f"{URL}/verify-email#token=t",
        "expires": "24 hours",
        "address": "new@example.com",
    }
    assert set(messages.KINDS["verify_email"]) < set(shown)


def test_notice_has_its_details_and_no_link() -> None:
    details = {"time": "2026-01-02 03:04 UTC", "ip": "192.0.2.7", "device": "", "address": "new@example.com"}

    shown = values.of_letter(Letter("email_changed", ADA, ADA.email, details), frontend_url=URL)

    assert shown == details | {"name": "Ada", "username": "ada", "frontend_url": URL}


def test_name_that_could_be_an_advertisement_is_left_out() -> None:
    spammer = User(1, "buy.pills.example", "ada@example.com", "http://pills.example", None, None)

    shown = values.of_letter(Letter("new_device", spammer, spammer.email, {}), frontend_url=URL)

    assert (shown["name"], shown["username"]) == ("", "")
