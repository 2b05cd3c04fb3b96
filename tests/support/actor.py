"""A user of the tests, with a client: what the platform's frontend does, in one place.

The client is a Flask test client, or an HttpClient of a service that runs in a process of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import requests
from flask.testing import FlaskClient

from tests.support import PASSWORD
from tests.support.access_tokens import claims_of

REGISTER, LOGIN, REFRESH, LOGOUT = (
    f"/api/auth/{name}" for name in ("register", "login", "refresh", "logout")
)
ME, ME_PASSWORD, SESSIONS = "/api/auth/me", "/api/auth/me/password", "/api/auth/sessions"
BOB = {"username": "bob", "email": "bob@example.com"}
NEW_PASSWORD = "battery staple"
WRONG_PASSWORD = "wrong horse"

Refusal = tuple[int, str, str | None]
TOKEN_MISSING: Refusal = (401, "token_missing", "Bearer")
TOKEN_EXPIRED: Refusal = (401, "token_expired", 'Bearer error="invalid_token"')
TOKEN_INVALID: Refusal = (401, "token_invalid", 'Bearer error="invalid_token"')
REFRESH_INVALID: Refusal = (401, "refresh_invalid", 'Bearer error="invalid_token"')
REFRESH_REUSED: Refusal = (401, "refresh_reused", 'Bearer error="invalid_token"')
VALIDATION_FAILED: Refusal = (400, "validation_failed", None)

ClientOf = Callable[..., FlaskClient]


class Reply(Protocol):
    """What the answers of both clients have in common."""

    @property
    def status_code(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def headers(self) -> Any: ...
    def get_json(self) -> Any: ...


class Client(Protocol):
    """What both clients have in common."""

    def open(self, path: str, *, method: str, json: Any, headers: Mapping[str, str]) -> Any: ...


class HttpClient:
    """A client of a running service. Each call opens a connection of its own."""

    def __init__(self, url: str, *, timeout_seconds: float = 30) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds

    def open(self, path: str, *, method: str, json: Any, headers: Mapping[str, str]) -> Reply:
        address = f"{self._url}{path}"
        return HttpReply(
            requests.request(method, address, json=json, headers=dict(headers), timeout=self._timeout_seconds)
        )


class HttpReply:
    """An answer of a running service, read like that of a Flask test client."""

    def __init__(self, answer: requests.Response) -> None:
        self.status_code = answer.status_code
        self.text = answer.text
        self.headers = answer.headers
        self.get_json = answer.json


class Actor:
    """A user with a client.

    register, log_in and refresh keep the answer's body in `pair` and return the actor. All other calls
    return the answer, and the actor keeps nothing of it.
    """

    def __init__(self, client: Client, username: str = "ada", password: str = PASSWORD) -> None:
        self.client = client
        self.username = username
        self.email = f"{username}@example.com"
        self.password = password
        self.pair: dict[str, Any] = {}

    @property
    def id(self) -> int:
        return int(self.pair["user"]["id"])

    @property
    def token(self) -> str:
        """The newest access token; "" before the first."""
        return str(self.pair.get("token", ""))

    @property
    def refresh_token(self) -> str:
        return str(self.pair["refresh_token"])

    @property
    def session_id(self) -> int:
        return int(claims_of(self.token)["sid"])

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a request with the newest access token, or with `token`; "" sends none."""
        token = self.token if token is None else token
        headers = (bearer(token) if token else {}) | dict(headers or {})
        return self.client.open(path, method=method, json=body, headers=headers)

    def register(self, **fields: object) -> "Actor":
        """Register with the actor's username, email and password; `fields` replace or add some."""
        body = {"username": self.username, "email": self.email, "password": self.password} | fields
        return self._keep(self.send("POST", REGISTER, body, token=""), 201)

    def try_log_in(self, **fields: object) -> Any:
        body = {"username": self.username, "password": self.password} | fields
        return self.send("POST", LOGIN, body, token="")

    def log_in(self, **fields: object) -> "Actor":
        return self._keep(self.try_log_in(**fields), 200)

    def elsewhere(self) -> "Actor":
        """Return the same user with another session, as on a second device."""
        return self.holding({}).log_in()

    def holding(self, pair: dict[str, Any]) -> "Actor":
        """Return the same user with other tokens."""
        return self.through(self.client, pair)

    def through(self, client: Client, pair: dict[str, Any] | None = None) -> "Actor":
        """Return the same user with another client, and with the same tokens unless `pair` says others."""
        other = Actor(client, self.username, self.password)
        other.email = self.email
        other.pair = self.pair if pair is None else {"user": self.pair["user"]} | pair
        return other

    def try_refresh(self, refresh_token: object = None) -> Any:
        """Refresh with the newest refresh token, or with another."""
        token = self.refresh_token if refresh_token is None else refresh_token
        return self.send("POST", REFRESH, {"refresh_token": token}, token="")

    def refresh(self) -> "Actor":
        return self._keep(self.try_refresh(), 200)

    def log_out(self, body: object = None, *, token: str | None = None) -> Any:
        return self.send("POST", LOGOUT, body, token=token)

    def me(self, token: str | None = None) -> Any:
        return self.send("GET", ME, token=token)

    def change_profile(self, **fields: object) -> Any:
        return self.send("PATCH", ME, fields)

    def change_password(self, new_password: str = NEW_PASSWORD, **fields: object) -> Any:
        """Change the password; the actor goes on with the old one."""
        body = {"current_password": self.password, "new_password": new_password} | fields
        return self.send("PUT", ME_PASSWORD, body)

    def delete(self, password: str | None = None) -> Any:
        return self.send("DELETE", ME, {"password": self.password if password is None else password})

    def sessions(self, token: str | None = None) -> Any:
        return self.send("GET", SESSIONS, token=token)

    def revoke_session(self, session_id: object) -> Any:
        return self.send("DELETE", f"{SESSIONS}/{session_id}")

    def revoke_other_sessions(self, token: str | None = None) -> Any:
        return self.send("DELETE", SESSIONS, token=token)

    def is_live(self) -> bool:
        """Return whether the service takes the access token; the refresh token stays unused."""
        answer = self.me()
        if answer.status_code == 200:
            return True
        assert refusal(answer) == TOKEN_INVALID
        return False

    def is_over(self) -> bool:
        """Return whether the service refuses both tokens; a good refresh token is used up."""
        return not self.is_live() and self.try_refresh().status_code == 401

    def _keep(self, answer: Reply, status: int) -> "Actor":
        assert answer.status_code == status, answer.text
        self.pair = self.pair | answer.get_json()
        return self


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refusal(answer: Reply) -> Refusal:
    """Return what a client learns of a refusal: the status, the code and the challenge."""
    body = answer.get_json()
    assert body.keys() - {"fields"} == {"error", "code"}
    return answer.status_code, body["code"], answer.headers.get("WWW-Authenticate")
