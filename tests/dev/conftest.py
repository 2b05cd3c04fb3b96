"""The code that a test of development runs from."""

from pathlib import Path

import pytest

from tests.support.development import copy_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what a developer runs from."""
    return copy_tree(tmp_path / "code")
