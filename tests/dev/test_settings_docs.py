"""The documentation of the variables is that of the declarations in config.py."""

import re
from dataclasses import MISSING, dataclass
from pathlib import Path

import pytest

from config import Settings
from dev import settings_docs
from runtime.declarations import Computed, Declaration, declarations, setting
from runtime.settings import WholeNumber
from tests.support import SECRET_KEY

REQUIRED = {"DB_URL": "postgresql://", "SECRET_KEY": SECRET_KEY}
KNOWN = declarations(Settings)
TABLE = settings_docs.TABLE_FILE.read_text()
each_setting = pytest.mark.parametrize("declaration", KNOWN, ids=lambda declaration: declaration.variable)


def test_table_is_up_to_date() -> None:
    assert settings_docs.with_table(TABLE, KNOWN) == TABLE, "run `make settings`"


def test_env_example_is_up_to_date() -> None:
    example = settings_docs.EXAMPLE_FILE.read_text()

    assert settings_docs.env_example(KNOWN) == example, "run `make settings`"


def test_both_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table_file, example_file = tmp_path / "operating.md", tmp_path / ".env.example"
    table_file.write_text("before\n<!-- settings -->\nrow of before\n<!-- /settings -->\nafter\n")
    monkeypatch.setattr(settings_docs, "TABLE_FILE", table_file)
    monkeypatch.setattr(settings_docs, "EXAMPLE_FILE", example_file)

    settings_docs.main()

    table = table_file.read_text()
    assert table.startswith("before\n<!-- settings -->\n### ")
    assert table.endswith("|\n<!-- /settings -->\nafter\n")
    assert "row of before" not in table
    assert example_file.read_text() == settings_docs.env_example(KNOWN)
    assert "\n#PORT=8080\n" in example_file.read_text()


@pytest.mark.parametrize("document", ["", "<!-- settings -->", "<!-- /settings --><!-- settings -->"])
def test_document_without_both_markers_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="is missing"):
        settings_docs.with_table(document, KNOWN)


def test_table_has_one_row_for_every_variable() -> None:
    tables = TABLE.partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]
    rows = re.findall(r"^\| `([A-Z_]+)` \|", tables, re.MULTILINE)

    assert rows == [declaration.variable for declaration in KNOWN]


def test_settings_of_a_group_stand_together() -> None:
    titles = re.findall("^### (.+)$", settings_docs.markdown_tables(KNOWN), re.MULTILINE)

    assert len(titles) == len(set(titles)) > 5


@each_setting
def test_setting_is_documented_in_sentences_that_fit_a_table(declaration: Declaration) -> None:
    assert re.fullmatch(r"[A-Z][^|\n]+\.", declaration.help)
    assert declaration.group


@each_setting
def test_documented_default_is_the_default(declaration: Declaration) -> None:
    text = settings_docs.literal_default(declaration)

    if isinstance(declaration.default, Computed):
        assert (text, bool(declaration.default.words)) == ("", True)
    elif declaration.default in (MISSING, None):
        assert text == ""
    else:
        assert declaration.kind(text) == declaration.default


def test_command_in_a_comment_stays_on_one_line() -> None:
    example = settings_docs.EXAMPLE_FILE.read_text()

    assert "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'" in example
    assert max(map(len, example.splitlines())) <= settings_docs.MAX_COLUMNS


@dataclass(frozen=True)
class OneMore(Settings):
    """Settings with one declaration more."""

    log_bytes: int = setting(WholeNumber(1, 9), group="Logging", default=5, help="Longest line of the log.")


def test_new_setting_needs_its_declaration_only() -> None:
    known = declarations(OneMore)

    assert OneMore.from_env(REQUIRED | {"LOG_BYTES": "7"}) == OneMore(
        **vars(Settings.from_env(REQUIRED)), log_bytes=7
    )
    assert OneMore.from_env(REQUIRED | {"LOG_BITES": "7"}).doubts == (
        "LOG_BITES in .env is no variable of this service: is LOG_BYTES meant?",
    )
    assert "| `LOG_BYTES` | `5` | Longest line of the log. From 1 to 9. |" in settings_docs.markdown_tables(
        known
    )
    assert "# Longest line of the log. From 1 to 9.\n#LOG_BYTES=5\n" in settings_docs.env_example(known)
