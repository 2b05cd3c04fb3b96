"""What a mail may say of a user and of a device: names that could carry an advertisement are left out."""

import re
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth.mail.names import device_name, greeting_name, shown_username


@pytest.mark.parametrize(
    "name",
    [
        "Ada",
        "J. R.",
        "J. R. R. Tolkien",
        "Sammy Davis Jr.",
        "O'Brien-Smith",
        "O\u2019Brien",
        "d' Artagnan",
        "Jean-Luc",
        "Zo\u00eb",
        "Nguy\u1ec5n Th\u1ecb",
        "\u5c71\u7530 \u592a\u90ce",
        "\u30ce\u30ea\u30b3",
        "\u05e9\u05dc\u05d5\u05dd",
        "\u0645\u062d\u0645\u062f",
        "\u0938\u0902\u0926\u0940\u092a",
        "\u0e2a\u0e21\u0e0a\u0e32\u0e22",
        "x" * 40,
    ],
)
def test_name_of_a_person_is_shown(name: str) -> None:
    assert greeting_name(name) == name


@pytest.mark.parametrize(
    ("first_name", "name"),
    [
        pytest.param(None, "", id="none"),
        pytest.param("  Ada   Maria ", "Ada Maria", id="blanks"),
        pytest.param("\u5c71\u7530\u3000\u592a\u90ce", "\u5c71\u7530 \u592a\u90ce", id="wide blank"),
        pytest.param("Zoe\u0308", "Zo\u00eb", id="not composed"),
    ],
)
def test_name_is_composed_and_has_single_blanks(first_name: str | None, name: str) -> None:
    assert greeting_name(first_name) == name


@pytest.mark.parametrize(
    "name",
    [
        *[
            "evil.com",
            "Ada evil.com",
            "e.v",
            "J.R.",
            ".ada",
            "Ada .",
            "evil. com shop",
            "Evil. shop",
            "Ada..",
            "...",
        ],
        *[
            "evil\uff0ecom",
            "evil\u3002com",
            "evil\uff61com",
            "evil\u2024com",
            "evil\ua4f8com",
            "a\U0001d16db",
        ],
        *[
            "evil\u318dcom",
            "evil\u1427com",
            "evil\ua78fcom",
            "evil\u00b7com",
            "evil\u30fbcom",
            "evil\u0660com",
        ],
        *["http", "https ada", "hxxp", "HxxPs evil", "www", "wwwevil", "\uff37\uff37\uff37 evil", "ftp evil"],
        *["\U0001d430\U0001d430\U0001d430 evil", "evil dot com", "evil-dotcom", "evil com", "evil-COM"],
        *["a@b", "ada@example.com", "://", "ada/eve", "ada\\eve", "ada:eve", "ada\uff0feve", "ada\u2215eve"],
        *["WIN 1000 EUR NOW CALL 555", "win1", "555", "Ada 2", "Ada \u0665", "Ada \u2466", "Ada \u2162"],
        *["one two three four five", "a b c d e", "win! now", "Ada, Eve", "(Ada)", "<b>Ada</b>", '"Ada"'],
        *[
            "Ada \U0001f600",
            "Ada\u2764",
            "\U0001f1e9\U0001f1ea",
            "Ada\ufe0f",
            "Ada\u20e3",
            "$ Ada",
            "\u20ac Ada",
        ],
        *[
            "Ada\u200b",
            "Ada\u200d",
            "Ada\ufeff",
            "Ada\u00ad",
            "Ada\u034f",
            "\u3164",
            "\u115f",
            "\uffa0",
            "\u180b",
        ],
        *[
            "Ada\u202eeve",
            "Ada\u2066",
            "Ada\u200f",
            "Ada\0",
            "Ada\x1b",
            "Ada\x7f",
            "Ada\x85Eve",
            "\ue000",
            "\ud800",
        ],
        *[
            "Ada\nEve",
            "Ada\r\nBcc: eve",
            "\nAda",
            "Ada\n",
            "Ada\u2028Eve",
            "Ada\u2029",
            "Ada\tEve",
            "Ada\vEve",
        ],
        *["", " ", "-", "'", "--", "Ada--Eve", "\u0301", "a" + "\u0316" * 5, "x" * 41],
    ],
)
def test_name_that_could_be_an_advertisement_is_left_out(name: str) -> None:
    assert greeting_name(name) == ""


letters_and_others = st.text(st.sampled_from("aZ\u00e9\u5c71\u0301 .'-") | st.characters(), max_size=45)


@given(letters_and_others)
@example("J. R.")
@example("evil.com")
def test_shown_name_has_nothing_but_letters_marks_and_joins(first_name: str) -> None:
    name = greeting_name(first_name)

    others = [each for each in name if unicodedata.category(each)[0] not in "LM"]
    assert set(others) <= set(" .'-\u2018\u2019\u2010\u2011")
    assert not re.search(r"\.[^ ]|  |^ | $", name)
    assert len(name) <= 40
    assert greeting_name(name) == name


def test_characters_that_no_screen_shows_are_left_out() -> None:
    # Default_Ignorable_Code_Point of Unicode, those that are letters or marks.
    invisible = {*"\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0", *map(chr, range(0xFE00, 0xFE10))}
    invisible |= {*"\u180b\u180c\u180d\u180f", *map(chr, range(0xE0100, 0xE01F0))}

    assert {each for each in invisible if greeting_name(f"a{each}a")} == set()


def test_character_that_is_no_letter_or_mark_is_shown_only_as_a_join() -> None:
    categories = {chr(code): unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1)}
    others = {each for each, category in categories.items() if category[0] in "NPSZ" or category == "Cf"}

    assert {each for each in others if greeting_name(f"a{each}a")} == set(
        " '-\u00a0\u3000\u2018\u2019\u2010\u2011"
    )


def test_long_name_is_judged_at_once() -> None:
    assert greeting_name("a'" * 50_000) == ""
    assert greeting_name("a" + "\u0316" * 39) == ""


@pytest.mark.parametrize("username", ["ada", "Ada_1987", "ada-maria_lovelace", "x" * 30, "7", "adacom"])
def test_username_is_shown(username: str) -> None:
    assert shown_username(username) == username


@pytest.mark.parametrize(
    "username",
    [
        *["ada.lovelace", "evil.com", "1.1", "ada.", ".ada", "x" * 31, "", "-", "_", "ada_", "-ada"],
        *[
            "ada 1",
            "ada\n",
            "\u0430da",
            "ada@example",
            "ada\u3002com",
            "<ada>",
            "ada/eve",
            "ada:",
            "ada\u200b",
        ],
        *[
            "call-555-1234",
            "00491234567",
            "john12345",
            "win_1000_eur_now_here",
            "www-evil",
            "HTTP",
            "hxxps_evil",
        ],
        *["evil-com", "evil_dot_com", "evil-dotcom"],
    ],
)
def test_username_that_could_be_an_advertisement_is_left_out(username: str) -> None:
    assert shown_username(username) == ""


def test_absent_username_is_left_out() -> None:
    assert shown_username(None) == ""


@given(st.from_regex(r"[A-Za-z0-9._-]{1,50}", fullmatch=True) | st.text())
def test_shown_username_is_one_plain_word(username: str) -> None:
    shown = shown_username(username)

    assert shown in ("", username)
    assert re.fullmatch(r"[A-Za-z0-9_-]{0,30}", shown)
    assert sum(map(str.isdigit, shown)) <= 4


MOZILLA = "Mozilla/5.0"
GECKO = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (
            f"{MOZILLA} (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Firefox on Windows",
        ),
        (
            f"{MOZILLA} (Windows NT 10.0; Win64; x64) {GECKO} Chrome/140.0.0.0 Safari/537.36",
            "Chrome on Windows",
        ),
        (f"{MOZILLA} (Windows NT 10.0) {GECKO} Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        (f"{MOZILLA} (X11; Linux x86_64) {GECKO} Chrome/140.0 Safari/537.36 OPR/120.0", "Opera on Linux"),
        (f"{MOZILLA} (X11; CrOS x86_64 14541.0.0) {GECKO} Chrome/140.0 Safari/537.36", "Chrome on ChromeOS"),
        (
            f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) {GECKO} Version/18.0 Safari/605.1.15",
            "Safari on macOS",
        ),
        (
            f"{MOZILLA} (iPhone; CPU iPhone OS 18_0 like Mac OS X) {GECKO} Version/18.0 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            f"{MOZILLA} (iPad; CPU OS 18_0 like Mac OS X) {GECKO} CriOS/140.0 Mobile Safari/604.1",
            "Chrome on iPad",
        ),
        (f"{MOZILLA} (iPhone; CPU iPhone OS 18_0 like Mac OS X) {GECKO} FxiOS/140.0", "Firefox on iPhone"),
        (f"{MOZILLA} (Linux; Android 15) {GECKO} Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        (
            f"{MOZILLA} (Linux; Android 15) {GECKO} SamsungBrowser/28.0 Chrome/130.0 Mobile Safari/537.36",
            "Samsung Internet on Android",
        ),
        ("Dalvik/2.1.0 (Linux; U; Android 15)", "Android"),
        ("Firefox/140.0", "Firefox"),
        ("curl/8.5.0", ""),
        ("", ""),
        ("evil.com", ""),
        (" " * 500 + "Firefox/1 Windows", ""),
    ],
)
def test_device_has_the_name_of_its_browser_and_system(user_agent: str, device: str) -> None:
    assert device_name(user_agent) == device


parts = st.sampled_from(
    ["Firefox/", "Edg/", "Safari/", "Windows", "iPhone", "Linux", "evil.com", "\r\n", "<b>"]
)


@given(st.lists(parts | st.text(max_size=5)).map("".join))
def test_device_name_has_only_our_own_words(user_agent: str) -> None:
    words = "(Edge|Opera|Samsung Internet|Firefox|Chrome|Safari)"
    systems = "(iPhone|iPad|Android|ChromeOS|Windows|macOS|Linux)"

    assert re.fullmatch(f"({words}?|{systems}|{words} on {systems})", device_name(user_agent))
