"""The code that a test of development runs from."""

from pathlib import Path

import pytest

from tests.support.database import copy_data
from tests.support.development import copy_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what a developer runs from."""
    return copy_tree(tmp_path / "code")


@pytest.fixture
def used_tree(tree: Path, data_folder: Path) -> Path:
    """A copy in which the service has run before: `.data/postgres` is there."""
    (tree / ".data").mkdir()
    copy_data(data_folder, tree / ".data/postgres")
    return tree
