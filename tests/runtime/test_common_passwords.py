"""The list of common passwords: its search, what it holds, and a file that is missing or damaged."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import ConfigError
from runtime import common_passwords
from runtime.common_passwords import MIN_LINES, contains, has_line, is_whole, load

LINES = common_passwords.FILE.read_text().split("\n")[:-1]
LISTED = frozenset(LINES)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another file, which replaces the list during the test."""
    path = tmp_path / "common_passwords.txt"
    monkeypatch.setattr(common_passwords, "FILE", path)
    load.cache_clear()
    yield path
    load.cache_clear()


def test_every_line_of_the_list_is_found() -> None:
    assert [line for line in LINES if not contains(line)] == []


@pytest.mark.parametrize(
    "line", [LINES[0], LINES[len(LINES) // 2], LINES[-1]], ids=["first", "middle", "last"]
)
def test_what_only_resembles_a_line_is_not_found(line: str) -> None:
    resembling = {line[:-1], line[1:], f"{line}x", f" {line}", f"{line}\n", f"\n{line}", f"{line} "} - LISTED

    assert [text for text in resembling if contains(text)] == []


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("", id="empty"),
        pytest.param("\n", id="line end"),
        pytest.param(f"{LINES[0]}\n{LINES[1]}", id="two lines"),
        pytest.param("\n".join(LINES[:20]), id="many lines"),
        pytest.param("!", id="before the first line"),
        pytest.param("\U0010ffff", id="behind the last line"),
        pytest.param("\U0001f512" * 256, id="longest"),
        pytest.param("p\u00e4ssword", id="not ASCII"),
        pytest.param("securepassword123", id="the example of the specification"),
        pytest.param("correct horse", id="the example of the documents"),
        pytest.param("battery staple", id="its successor"),
    ],
)
def test_uncommon_password_is_not_found(password: str) -> None:
    assert not contains(password)


@pytest.mark.parametrize(
    "password",
    ["password", "password1", "password123", "12345678", "123456789", "qwertyuiop", "iloveyou", "11111111"],
)
def test_password_that_everybody_knows_is_found(password: str) -> None:
    assert contains(password)


@given(
    st.text() | st.sampled_from(LINES).flatmap(lambda line: st.sampled_from([line, line[:-1], line + "0"]))
)
def test_search_of_the_list_agrees_with_a_set(password: str) -> None:
    assert contains(password) == (password in LISTED)


texts = st.text(st.sampled_from("ab\u00e9\U0001f512 "), min_size=1, max_size=4)


@given(st.frozensets(texts, max_size=40), texts)
def test_search_agrees_with_a_set(lines: frozenset[str], wanted: str) -> None:
    text = b"".join(line + b"\n" for line in sorted(line.encode() for line in lines))

    assert all(has_line(text, line.encode()) for line in lines)
    assert has_line(text, wanted.encode()) == (wanted in lines)


def test_list_has_20_000_different_passwords_of_at_least_8_characters() -> None:
    assert len(LINES) == len(LISTED) == 20_000
    assert min(map(len, LINES)) == 8


def test_list_is_sorted_lower_case_and_plain_text() -> None:
    assert sorted(LINES, key=str.encode) == LINES
    assert [line for line in LINES if line != line.lower() or not re.fullmatch("[ -~]+", line)] == []
    assert [line for line in LINES if line != line.strip()] == []  # editors would cut the blanks off


def test_list_lies_beside_its_licenses() -> None:
    licenses = common_passwords.FILE.with_suffix(".LICENSE").read_text()

    assert "Copyright (c) Django Software Foundation" in licenses
    assert "Copyright (c) 2018 Daniel Miessler" in licenses


def test_list_is_read_once(file: Path) -> None:
    file.write_text("".join(f"{number:08}\n" for number in range(MIN_LINES)))
    assert contains("00000007")

    file.unlink()

    assert contains("00000008")
    assert not contains("password")


def test_missing_list_stops_the_start_with_one_sentence(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load()

    assert str(caught.value) == (
        f"The service cannot start: PASSWORD_BLOCKLIST needs {file} (No such file or directory)."
    )


def test_damaged_list_stops_the_start_with_one_sentence(file: Path) -> None:
    file.write_bytes(b"")

    with pytest.raises(ConfigError) as caught:
        load()

    assert str(caught.value) == (
        f"The service cannot start: PASSWORD_BLOCKLIST needs {file} (the file is damaged)."
    )


WHOLE = "\n".join([*LINES, ""]).encode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(WHOLE[: len(WHOLE) // 3], id="cut off"),
        pytest.param(WHOLE[:-1], id="without the last line end"),
        pytest.param(WHOLE.replace(b"\n", b"\r\n"), id="line ends of Windows"),
        pytest.param(WHOLE[:90_000] + bytes(4096) + WHOLE[94_096:], id="block of zeros"),
        pytest.param(WHOLE + WHOLE, id="twice"),
        pytest.param(b"zzz\n" + WHOLE, id="not sorted"),
        pytest.param(WHOLE.replace(b"\npassword\n", b"\npassword\npassword\n"), id="line twice"),
        pytest.param(WHOLE.replace(b"\npassword\n", b"\npasswOrd\n"), id="capital"),
        pytest.param(WHOLE + b"\xff\n", id="not UTF-8"),
        pytest.param(WHOLE + "\u0438\u0306\n".encode(), id="not NFC"),
    ],
)
def test_damaged_text_is_not_whole(text: bytes) -> None:
    assert not is_whole(text)


def test_text_with_a_line_of_an_operator_is_whole() -> None:
    text = WHOLE + "\u00e9l\u00e9phant rose\n".encode()

    assert is_whole(text)
    assert has_line(text, "\u00e9l\u00e9phant rose".encode())
