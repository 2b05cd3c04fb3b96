"""The Dockerfile, read by instruction."""

import re

from tests.support import ROOT


def instructions(name: str) -> list[str]:
    """Return the arguments of every instruction of this name in the Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return re.findall(rf"^{name}\s+(.+)$", joined, flags=re.MULTILINE)
