"""A user of the tests, with a client: what the platform's frontend does, in one place.

The client is a Flask test client, or an HttpClient of a service that runs in a process of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import requests
from flask.testing import FlaskClient

from tests.support import PASSWORD

REGISTER, LOGIN, REFRESH, LOGOUT = (
    f"/api/auth/{name}" for name in ("register", "login", "refresh", "logout")
)
ME, ME_PASSWORD, SESSIONS = "/api/auth/me", "/api/auth/me/password", "/api/auth/sessions"
BOB = {"username": "bob", "email": "bob@example.com"}

Register = Callable[..., dict[str, Any]]
ClientOf = Callable[..., FlaskClient]


class Reply(Protocol):
    """What both clients answer with."""

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
    """A client of a running service, every call on a connection of its own."""

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

    pair: the body of the newest registration, login, refresh or change of the password.
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

    def send(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """Send a request with the newest access token, or with `token`; "" sends none."""
        token = self.pair.get("token", "") if token is None else token
        return self.client.open(path, method=method, json=body, headers=bearer(token) if token else {})

    def register(self, **fields: object) -> "Actor":
        """Register, unless told otherwise with the actor's own username, email and password."""
        body = {"username": self.username, "email": self.email, "password": self.password} | fields
        return self._keep(self.send("POST", REGISTER, body, token=""), 201)

    def try_log_in(self, **fields: object) -> Any:
        """Log in and return the answer; the actor keeps nothing of it."""
        return self.send(
            "POST", LOGIN, {"username": self.username, "password": self.password} | fields, token=""
        )

    def log_in(self, **fields: object) -> "Actor":
        return self._keep(self.try_log_in(**fields), 200)

    def elsewhere(self) -> "Actor":
        """Return the same user with another session, as on a second device."""
        other = Actor(self.client, self.username, self.password)
        other.email = self.email
        return other.log_in()

    def try_refresh(self, refresh_token: object = None) -> Any:
        """Refresh with the newest refresh token, or with another; the actor keeps nothing of the answer."""
        token = self.pair["refresh_token"] if refresh_token is None else refresh_token
        return self.send("POST", REFRESH, {"refresh_token": token}, token="")

    def refresh(self) -> "Actor":
        return self._keep(self.try_refresh(), 200)

    def log_out(self) -> Any:
        return self.send("POST", LOGOUT)

    def me(self, token: str | None = None) -> Any:
        return self.send("GET", ME, token=token)

    def change_profile(self, **fields: object) -> Any:
        return self.send("PATCH", ME, fields)

    def change_password(self, new_password: str, **fields: object) -> Any:
        """Change the password and return the answer; the actor keeps nothing of it."""
        body = {"current_password": self.password, "new_password": new_password} | fields
        return self.send("PUT", ME_PASSWORD, body)

    def delete(self, password: str | None = None) -> Any:
        return self.send("DELETE", ME, {"password": self.password if password is None else password})

    def sessions(self) -> Any:
        return self.send("GET", SESSIONS)

    def _keep(self, answer: Reply, status: int) -> "Actor":
        assert answer.status_code == status, answer.text
        self.pair = self.pair | answer.get_json()
        return self


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refusal(answer: Reply) -> tuple[int, str, str | None]:
    """Return what a client learns of a refusal: the status, the code and the challenge."""
    return answer.status_code, answer.get_json()["code"], answer.headers.get("WWW-Authenticate")
