"""What every made-up call goes through: credentials that often work, and the comparison with the contract.

Runs in the fuzzer's virtual environment, both under the `schemathesis` command and under calls.py.
"""

import os
import random
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import schemathesis

from fuzz.second_factor import TAKE_CODES, SecondFactor
from tests.support import contract

URL = os.environ["FUZZ_URL"]
ORIGIN = "http://localhost:3000"  # one of the default CORS_ORIGINS
PASSWORD = "correct horse"
CALLS_OF_A_USER = 20
SHARE_WITH_SECOND_FACTOR = 0.3

chance = random.Random(int(os.environ["FUZZ_SEED"]))  # noqa: S311 -- for calls, not for secrets
session = requests.Session()


class User:
    """A registered user. Another one takes over now and then, because calls end sessions and delete users."""

    def __init__(self) -> None:
        self._calls = 0
        self._pair: dict[str, Any] = {}
        self.second_factor = self._without_second_factor()

    def pair(self) -> dict[str, Any]:
        """Return the tokens of a session that was opened a few calls ago."""
        if self._calls % CALLS_OF_A_USER == 0:
            name = f"fuzz-{secrets.token_hex(8)}"
            body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            answer = session.post(f"{URL}/api/auth/register", json=body, timeout=10)
            answer.raise_for_status()
            self._pair = answer.json()
            self.second_factor = self._without_second_factor()
            if chance.random() < SHARE_WITH_SECOND_FACTOR:
                self.second_factor.enrol(self._pair["token"])
        self._calls += 1
        return self._pair

    @staticmethod
    def _without_second_factor() -> SecondFactor:
        return SecondFactor(session, URL, password=PASSWORD)


user = User()


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Let the calls of the `schemathesis` command come from somebody, mostly from a user."""
    if context.operation is not None and "Origin" not in case.headers:
        dress(case, chance.choice(("stranger", "user", "user", "owner")))


def dress(case: schemathesis.Case, who: str) -> None:
    """Let a call come from a page at an allowed origin and from `who`.

    A stranger sends what was made up, a user a valid token, an owner also the secrets that fit it.
    """
    pair = user.pair()
    case.headers["Origin"] = ORIGIN
    if who != "stranger":
        case.headers["Authorization"] = f"Bearer {pair['token']}"
    if who == "owner" and isinstance(case.body, dict):
        known = {"current_password": PASSWORD, "refresh_token": pair["refresh_token"]}
        if case.operation.label != "POST /api/auth/register":
            known |= {"email": pair["user"]["email"], "password": PASSWORD}
        case.body = case.body | {name: value for name, value in known.items() if name in case.body}
        if case.operation.label in TAKE_CODES:
            case.body |= user.second_factor.typed(case.operation.label, pair)


@schemathesis.check
def as_the_contract_says(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Fail when the answer is not as openapi.yaml says."""
    require_described(response)


def require_described(response: schemathesis.Response) -> None:
    """Raise AssertionError when an answer is a 5xx, not described, without a code or unreadable to a page."""
    headers = {name: ", ".join(values) for name, values in response.headers.items()}
    method, path = str(response.request.method), unquote(urlsplit(str(response.request.url)).path)
    answer = contract.Answer(method, path, response.status_code, headers, response.content)
    problems = [*contract.problems(answer), *_problems(answer, response.request.headers)]
    assert not problems, f"{method} {path} {answer.status}: {'; '.join(problems)}"


def _problems(answer: contract.Answer, sent: Mapping[str, str]) -> list[str]:
    problems = []
    if answer.status >= 500:
        problems.append("the service failed")
    if answer.status >= 400 and answer.method != "HEAD" and answer.code() is None:
        problems.append("the error has no code")
    if sent.get("Origin") == ORIGIN:
        public = answer.path.startswith("/openapi.") and answer.status < 400
        allowed = answer.headers.get("access-control-allow-origin")
        if allowed != ("*" if public else ORIGIN):
            problems.append(f"Access-Control-Allow-Origin is {allowed}")
    return problems
