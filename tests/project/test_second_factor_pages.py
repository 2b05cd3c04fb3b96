"""The pages for a second factor of docs/clients.md: they work when copied, from enrolment to login."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import requests

from auth.errors import REGISTRY
from tests.support import PASSWORD, SECRET_KEY, node_pages, second_factors, service
from tests.support.actor import ME, Actor, HttpClient
from tests.support.database import MakeDatabase, run_sql
from tests.support.node_pages import Page, opened
from tests.support.second_factors import WRONG_CODE, App

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")

MAX_SCRIPT_LINES = {"login": 36, "two-factor": 46}
AWAY = "The service cannot be reached. Please try again."


@dataclass(frozen=True)
class Frontend:
    """A service, and a folder with the pages."""

    url: str
    database_url: str
    folder: Path
    log: Path

    def register(self, username: str) -> Actor:
        return Actor(HttpClient(self.url), username).register()

    def sql(self, statement: str) -> Any:
        return run_sql(self.database_url, statement)


@pytest.fixture(scope="module")
def frontend(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontend]:
    folder, database_url = tmp_path_factory.mktemp("pages"), make_database()
    environ = {"DB_URL": database_url, "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"}
    with service.running(folder / "log", **environ) as running:
        node_pages.write_pages(folder, running.url)
        yield Frontend(running.url, database_url, folder, running.log)


def at_second_step(page: Page, username: str) -> dict[str, Any]:
    seen = page.submit("password", username=username, password=PASSWORD)
    assert (seen["shown"], seen["said"]) == (["code"], REGISTRY["second_factor_required"].sentence)
    return seen


def test_enrolment_page_leads_to_recovery_codes(frontend: Frontend) -> None:
    user = frontend.register("ada")

    with opened(frontend.folder, "two-factor", user.pair) as page:
        refused = page.submit("password", password="a wrong password")
        setup = page.submit("password", password=PASSWORD)
        app = App.scanning({"secret": setup["texts"]["code"].replace(" ", "")})
        mistyped = page.submit("code", code=WRONG_CODE)
        enabled = page.submit("code", code=app.code())
        page.click("Copy")
        done = page.click("Print")

    assert (refused["shown"], refused["said"]) == (["password"], REGISTRY["wrong_password"].sentence)
    assert (setup["shown"], setup["inputs"]) == (["code"], ["", ""])
    kind, _, svg = setup["image"].partition(",")
    assert (kind, unquote(svg)[:5], unquote(svg)[-6:]) == ("data:image/svg+xml", "<svg ", "</svg>")
    assert setup["link"].startswith("otpauth://totp/Streamly:ada?secret=")
    assert (mistyped["shown"], mistyped["said"]) == (["code"], REGISTRY["code_invalid"].sentence)
    assert (enabled["shown"], enabled["said"]) == (["section"], "The second factor is on.")
    codes = enabled["texts"]["pre"]
    assert [code[0] for code in codes.splitlines()] == list("0123456789")
    assert done["did"] == [codes, "printed"]
    assert second_factors.first_step(user).get_json()["code"] == "second_factor_required"


def test_enrolment_page_begins_anew_after_an_expired_setup(frontend: Frontend) -> None:
    user = frontend.register("expired")

    with opened(frontend.folder, "two-factor", user.pair) as page:
        page.submit("password", password=PASSWORD)
        frontend.sql("UPDATE auth_second_factors SET setup_expires_at = now() WHERE enabled_at IS NULL")
        seen = page.submit("code", code="123456")

    assert (seen["shown"], seen["said"]) == (["password"], REGISTRY["setup_required"].sentence)


@pytest.mark.parametrize("kind", ["code", "recovery code"])
def test_login_page_takes_a_code_or_a_recovery_code(frontend: Frontend, kind: str) -> None:
    user = frontend.register(f"login-{kind[:4]}")
    app = second_factors.enrol(user)

    with opened(frontend.folder, "login") as page:
        second = at_second_step(page, user.username)
        mistyped = page.submit("code", code=WRONG_CODE)
        typed = (
            app.code(steps=1) if kind == "code" else app.recovery_codes[3].upper().replace("-", "\N{EN DASH}")
        )
        done = page.submit("code", code=typed)

    assert second["inputs"] == [user.username, "", ""]
    assert second["tokens"] == "null"  # neither tokens nor the ticket are stored
    assert (mistyped["shown"], mistyped["said"]) == (["code"], REGISTRY["code_invalid"].sentence)
    assert (done["shown"], done["said"]) == ([], f"Welcome, {user.username}.")
    token = json.loads(done["tokens"])["token"]
    me = requests.get(f"{frontend.url}{ME}", headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert (me.status_code, me.json()["two_factor"]) == (200, True)


def test_login_page_needs_no_code_without_a_second_factor(frontend: Frontend) -> None:
    user = frontend.register("plain")

    with opened(frontend.folder, "login") as page:
        refused = page.submit("password", username=user.username, password="a wrong password")
        done = page.submit("password", username=user.email, password=PASSWORD)

    assert (refused["shown"], refused["said"]) == (["password"], REGISTRY["invalid_credentials"].sentence)
    assert (done["shown"], done["said"]) == ([], "Welcome, plain.")


def test_login_page_asks_for_the_password_after_an_expired_ticket(frontend: Frontend) -> None:
    user = frontend.register("late")
    app = second_factors.enrol(user)

    with opened(frontend.folder, "login") as page:
        at_second_step(page, user.username)
        frontend.sql("UPDATE auth_tickets SET expires_at = now()")
        late = page.submit("code", code=app.code(steps=1))
        at_second_step(page, user.username)
        done = page.submit("code", code=app.code(steps=1))

    assert (late["shown"], late["said"]) == (["password"], REGISTRY["ticket_invalid"].sentence)
    assert done["said"] == "Welcome, late."


def test_login_page_pauses_after_too_many_wrong_codes(frontend: Frontend) -> None:
    user = frontend.register("guessed")
    second_factors.enrol(user)

    with opened(frontend.folder, "login") as page:
        at_second_step(page, user.username)
        wrong = [page.submit("code", code=WRONG_CODE) for _ in range(5)]
        limited = page.submit("code", code=WRONG_CODE)

    assert {seen["said"] for seen in wrong} == {REGISTRY["code_invalid"].sentence}
    assert [seen["paused"] for seen in wrong] == [[]] * 5
    assert (limited["shown"], limited["said"]) == (["code"], REGISTRY["too_many_attempts"].sentence)
    assert limited["paused"] == ["code"]


def test_enrolment_page_pauses_after_too_many_wrong_codes(frontend: Frontend) -> None:
    user = frontend.register("clumsy")

    with opened(frontend.folder, "two-factor", user.pair) as page:
        page.submit("password", password=PASSWORD)
        seen = [page.submit("code", code=WRONG_CODE) for _ in range(6)]

    assert [each["paused"] for each in seen] == [[]] * 5 + [["code"]]


@pytest.mark.parametrize("name", ["login", "two-factor"])
def test_page_says_that_the_service_is_away(tmp_path: Path, name: str) -> None:
    node_pages.write_pages(tmp_path, "http://127.0.0.1:9")

    with opened(tmp_path, name) as page:
        values = {"username": "ada"} if name == "login" else {}
        seen = page.submit("password", password=PASSWORD, **values)

    assert (seen["shown"], seen["said"]) == (["password"], AWAY)


@pytest.mark.parametrize("name", ["login", "two-factor"])
def test_page_has_a_short_script(name: str) -> None:
    _, script = node_pages.page_of(name)

    assert len(script.splitlines()) <= MAX_SCRIPT_LINES[name]
