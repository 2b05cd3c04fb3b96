"""docs/clients.md: its code works when copied, and its tables are those of the code."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from auth.errors import REGISTRY
from auth.tokens import access
from tests.support import ROOT, SECRET_KEY, service
from tests.support.database import MakeDatabase
from tests.support.documents import CLIENTS, blocks, rows

VERIFIER_LINES = 5


def test_typescript_packages_are_those_that_the_client_needs() -> None:
    (commands,) = blocks(CLIENTS, "sh", containing="npx")
    needed = json.loads((ROOT / "tests/client/package.json").read_text())["devDependencies"]
    installed = re.findall(r"^npm install (?:--save-dev )?(.+)$", commands, re.MULTILINE)

    assert set(" ".join(installed).split()) == set(needed) - {"@types/node"}


@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
def test_session_for_a_frontend_works(make_database: MakeDatabase, tmp_path: Path) -> None:
    (module,) = blocks(CLIENTS, "js", containing="localStorage")
    address = "http://localhost:8080/"
    assert module.count(address) == 1
    environ = {"DB_URL": make_database(), "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"}

    with service.running(tmp_path / "log", **environ) as running:
        (tmp_path / "session.mjs").write_text(module.replace(address, f"{running.url}/"))
        shutil.copy(ROOT / "tests/client/frontend.mjs", tmp_path)
        done = subprocess.run(
            ["node", "frontend.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    missing = {"status": 401, "code": "token_missing", "fields": {}, "message": "A bearer token is required."}
    assert seen["anonymous"] == seen["out"] == missing
    assert (seen["bad"]["code"], set(seen["bad"]["fields"])) == ("validation_failed", {"email", "password"})
    assert seen["registered"] == seen["me"]
    assert (seen["changed"]["first_name"], seen["again"]["username"]) == ("Ada", "ada")
    assert [user["first_name"] for user in seen["refreshed"]] == ["Ada", "Ada"]
    assert seen["sessions"] == 1
    assert (seen["codeless"]["status"], set(seen["codeless"]["fields"])) == (403, {"code"})
    assert (seen["half"]["status"], seen["half"]["code"]) == (401, "second_factor_required")
    assert (len(seen["half"]["ticket"]), seen["unopened"]) == (43, "null")
    assert [seen[step]["code"] for step in ("mistyped", "spent")] == ["code_invalid", "ticket_invalid"]
    assert (seen["finished"]["username"], seen["finished"]["two_factor"]) == ("ada", True)
    assert (seen["limited"]["code"], seen["limited"]["status"]) == ("too_many_attempts", 429)
    assert 1 <= seen["limited"]["retry_after"] <= 60
    assert seen["credentials"] == ["include"]
    assert seen["authorizations"] == [None, "Bearer"]
    assert seen["undefined"] == 0


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The function for sibling services."""
    (snippet,) = blocks(CLIENTS, "python", containing="jwt.decode")
    assert len(snippet.splitlines()) <= VERIFIER_LINES
    monkeypatch.setenv("SECRET_KEY", SECRET_KEY)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102
    return names["verify"]


def issue(*, key: str = SECRET_KEY, age_seconds: float = 0) -> str:
    """Return a token of this service for ada, user 7."""
    issued_at = time.time() - age_seconds
    return access.issue(
        7, "ada@example.com", session_id=3, key=key, now=issued_at, ttl_seconds=3600, token_id="1"
    )


def test_verifier_accepts_a_token_of_this_service(verify: Any) -> None:
    assert verify(issue()) == (7, "ada@example.com")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(issue(key="another-key-that-is-longer-than-32-bytes"), id="another key"),
        pytest.param(issue(age_seconds=3700), id="expired"),
        pytest.param(jwt.encode({"id": 7}, SECRET_KEY), id="without an end"),
        pytest.param(jwt.encode({"id": 7, "exp": 2**32}, "", algorithm="none"), id="unsigned"),
    ],
)
def test_verifier_refuses_other_tokens(verify: Any, token: str) -> None:
    with pytest.raises(jwt.PyJWTError):
        verify(token)


def test_claims_are_those_of_a_token() -> None:
    described = {
        name for claims, _ in rows(CLIENTS, "claim", "meaning") for name in re.findall(r"\w+", claims)
    }

    assert described == set(jwt.decode(issue(), SECRET_KEY, algorithms=["HS256"]))


def test_error_codes_are_those_of_the_code_with_their_status() -> None:
    described = {
        code.strip("`"): {int(status) for status in statuses.split(", ")}
        for code, statuses, _ in rows(CLIENTS, "code", "status", "when")
    }

    assert described == {code: failure.statuses() for code, failure in REGISTRY.items()}
