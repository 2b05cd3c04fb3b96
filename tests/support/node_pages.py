"""The pages for a second factor of docs/clients.md, opened in Node.js by tests/client/second_factor.mjs."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.documents import CLIENTS, blocks

FILES = {"login": "login/index.html", "two-factor": "two-factor/index.html"}
ADDRESS = "http://localhost:8080/"


@dataclass(frozen=True)
class Page:
    """An open page. Its methods return what the user sees then."""

    process: "subprocess.Popen[str]"

    def submit(self, form: str, **values: str) -> dict[str, Any]:
        return self._do(form=form, values=values)

    def click(self, label: str) -> dict[str, Any]:
        return self._do(click=label)

    def _do(self, **action: object) -> dict[str, Any]:
        stdin, stdout, stderr = self.process.stdin, self.process.stdout, self.process.stderr
        assert stdin
        assert stdout
        assert stderr
        stdin.write(f"{json.dumps(action)}\n")
        stdin.flush()
        line = stdout.readline()
        assert line, stderr.read()
        seen: dict[str, Any] = json.loads(line)
        return seen


def page_of(name: str) -> tuple[str, str]:
    """Return the HTML of a page, and its script."""
    text = CLIENTS.partition(f"`{FILES[name]}`")[2]
    html = blocks(text, "html", containing="<script")[0]
    (script,) = re.findall(r'<script type="module">\n(.+?)</script>', html, re.DOTALL)
    return html, script


def write_pages(folder: Path, url: str) -> None:
    """Store both pages and the code that they import, for the service at `url`."""
    (session,) = blocks(CLIENTS, "js", containing="localStorage")
    assert session.count(ADDRESS) == 1
    (folder / "session.mjs").write_text(session.replace(ADDRESS, f"{url}/"))
    shutil.copy(ROOT / "tests/client/second_factor.mjs", folder)
    for name, file in FILES.items():
        html, script = page_of(name)
        (folder / name).mkdir()
        (folder / file).write_text(html)
        (folder / name / "script.mjs").write_text(script)


@contextmanager
def opened(folder: Path, name: str, tokens: dict[str, Any] | None = None) -> Iterator[Page]:
    """Open a page until the block ends. tokens: what the page's session has stored."""
    command = ["node", "second_factor.mjs", FILES[name], f"./{name}/script.mjs", json.dumps(tokens)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Page(process)
        finally:
            process.kill()
