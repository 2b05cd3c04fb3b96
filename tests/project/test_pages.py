"""The pages of docs/clients.md to which the links in mails lead: their scripts work when copied."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from auth.errors import REGISTRY
from tests.support import PASSWORD, ROOT, SECRET_KEY, mail_server, service
from tests.support.database import MakeDatabase
from tests.support.development import wait_until
from tests.support.documents import CLIENTS, blocks
from tests.support.mail_server import MailServer

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")


@dataclass(frozen=True)
class Frontend:
    """A service with a mail server, and the scripts of both pages."""

    url: str
    server: MailServer
    folder: Path
    log: Path

    def post(self, path: str, **body: str) -> requests.Response:
        return requests.post(f"{self.url}/api/auth{path}", json=body, timeout=10)

    def next_link(self, *, after: int) -> tuple[str, str]:
        """Wait for the mail number `after` + 1, and return the page and the hash of its link."""
        assert wait_until(lambda: len(self.server.messages) > after)
        text = self.server.messages[after].message.get_body(("plain",))
        assert text is not None
        found = re.search(r"http://localhost:3000/([a-z-]+)(#token=\S+)", text.get_content())
        assert found is not None
        return found[1], found[2]

    def open(self, page: str, fragment: str, *password: str) -> dict[str, Any]:
        """Return what a user sees who opens a page and clicks its button."""
        command = ["node", "pages.mjs", f"./{page}.mjs", fragment, *password]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen


@pytest.fixture(scope="module")
def frontend(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontend]:
    folder = tmp_path_factory.mktemp("pages")
    shutil.copy(ROOT / "tests/client/pages.mjs", folder)
    with mail_server.running() as server:
        environ = {
            "DB_URL": make_database(),
            "SECRET_KEY": SECRET_KEY,
            "BCRYPT_ROUNDS": "4",
            "SMTP_URL": server.url,
            "MAIL_FROM": "Streamly <no-reply@streamly.example>",
            "FRONTEND_URL": "http://localhost:3000",
        }
        with service.running(folder / "log", **environ) as running:
            for page in ("verify-email", "reset-password"):
                (folder / f"{page}.mjs").write_text(script_of(page, running.url))
            yield Frontend(running.url, server, folder, running.log)


def script_of(page: str, url: str) -> str:
    """Return the script of a page, for the service at `url`."""
    text = CLIENTS.partition(f"`{page}/index.html`:")[2]
    html = blocks(text, "html", containing="<script")[0]
    (script,) = re.findall(r'<script type="module">\n(.+?)</script>', html, re.DOTALL)
    address = "http://localhost:8080/"
    assert script.count(address) == 1
    return str(script).replace(address, f"{url}/")


def test_links_of_mails_work_with_the_pages(frontend: Frontend) -> None:
    registered = frontend.post("/register", username="ada", email="ada@example.com", password=PASSWORD)
    page, fragment = frontend.next_link(after=0)
    verified, again = frontend.open(page, fragment), frontend.open(page, fragment)
    asked = frontend.post("/password/forgot", email="ada@example.com")
    page, fragment = frontend.next_link(after=1)
    short = frontend.open(page, fragment, "short")
    reset = frontend.open(page, fragment, "battery staple")
    login = frontend.post("/login", username="ada", password="battery staple")

    assert (registered.status_code, asked.status_code, login.status_code) == (201, 202, 200)
    assert verified == {
        "before": "",
        "after": "Thank you, ada@example.com is verified.",
        "hidden": True,
        "addresses": ["/page/"],
    }
    assert (again["after"], again["hidden"]) == (REGISTRY["link_invalid"].sentence, True)
    assert (short["after"], short["hidden"]) == (
        "New password must be at least 8 characters long.",
        False,
    )
    assert (reset["after"], reset["hidden"]) == (
        "Your new password is saved. You can log in with it now.",
        True,
    )
    assert login.json()["user"]["email_verified"] is True
    assert fragment.removeprefix("#token=") not in frontend.log.read_text()


@pytest.mark.parametrize("page", ["verify-email", "reset-password"])
def test_link_without_its_token_is_told(frontend: Frontend, page: str) -> None:
    seen = frontend.open(page, "", "battery staple")

    assert seen["before"] == "This link is not complete. Please copy all of it from the mail."


def test_service_that_is_away_leaves_the_form(frontend: Frontend, tmp_path: Path) -> None:
    script = script_of("verify-email", "http://127.0.0.1:9")
    (frontend.folder / "away.mjs").write_text(script)

    seen = frontend.open("away", "#token=x")

    assert (seen["after"], seen["hidden"]) == ("The service cannot be reached. Please try again.", False)


def test_page_has_a_script_of_30_lines() -> None:
    for page in ("verify-email", "reset-password"):
        assert len(script_of(page, "http://localhost").splitlines()) <= 30
