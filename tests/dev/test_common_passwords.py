"""Making the list of common passwords."""

import gzip
from pathlib import Path

import pytest

from dev import common_passwords as maker
from runtime import common_passwords


def test_first_list_goes_first_and_the_text_is_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "MAX_LINES", 4)

    text = maker.text_of(
        [["zebra123", "Zebra123", "short", "alphabet"], ["ALPHABET", "password", "more pass", "5"]]
    )

    assert text == b"alphabet\nmore pass\npassword\nzebra123\n"


def test_list_ends_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "MAX_LINES", 2)

    assert maker.text_of([["zebra123"], ["password", "alphabet"]]) == b"password\nzebra123\n"


def test_password_that_was_damaged_is_left_out() -> None:
    assert maker.text_of([["\u043f\u0457\u0455" * 4, "password"]]) == b"password\n"


def test_made_file_is_the_one_that_the_service_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = common_passwords.FILE.read_text().splitlines()
    first, second = tmp_path / "first.txt.gz", tmp_path / "second.txt"
    first.write_bytes(gzip.compress("\n".join(passwords[12_000:]).upper().encode()))
    second.write_text("\n".join(passwords[:12_000]))
    made = tmp_path / "made.txt"
    monkeypatch.setattr(common_passwords, "FILE", made)
    monkeypatch.setattr("sys.argv", ["common_passwords", str(first), str(second)])

    maker.main()

    assert made.read_text().splitlines() == passwords
    assert common_passwords.is_whole(made.read_bytes())


def test_making_of_no_list_explains_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["common_passwords"])

    with pytest.raises(SystemExit, match=r"python -m dev\.common_passwords "):
        maker.main()
