"""Which of the PostgreSQL versions on this machine runs the data of development."""

from pathlib import Path

import pytest

from dev import StartError, postgres_binaries


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that PostgreSQL 15 made."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("15\n")
    return folder


def install(folder: Path, version: str) -> Path:
    """Make programs that print this version."""
    folder.mkdir()
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


def only(monkeypatch: pytest.MonkeyPatch, *places: Path) -> None:
    monkeypatch.setattr(postgres_binaries, "_places", lambda: iter(places))


def test_new_data_is_for_the_first_place_that_has_the_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = install(tmp_path / "first", "16.2")
    only(monkeypatch, tmp_path / "nothing", first, install(tmp_path / "second", "17.0"))

    assert postgres_binaries.find(tmp_path / "no data yet") == first


def test_data_is_for_the_programs_of_the_version_that_made_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = install(tmp_path / "15", "15.18 (Debian 15.18-0+deb12u1)")
    only(monkeypatch, install(tmp_path / "16", "16.2"), fitting, install(tmp_path / "other 15", "15.1"))

    assert postgres_binaries.find(data) == fitting


def test_data_of_a_version_that_is_not_here_is_a_sentence_with_both(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, install(tmp_path / "16", "16.2"))

    with pytest.raises(StartError, match=r"PostgreSQL 15 made .+, but here is only PostgreSQL 16: install"):
        postgres_binaries.find(data)


def test_no_programs_at_all_is_a_sentence(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)

    with pytest.raises(StartError, match="There is no PostgreSQL here"):
        postgres_binaries.find(data)
