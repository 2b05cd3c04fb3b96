"""The authenticator app and the recovery codes of the fuzzer's user.

Runs in the fuzzer's virtual environment, which lacks what the service imports.
"""

import base64
import hmac
import time
from typing import Any

import requests

ENABLE, RENEWAL = "POST /api/auth/2fa/enable", "POST /api/auth/2fa/recovery-codes"
SECOND_STEP = "POST /api/auth/login/2fa"
TAKE_CODES = {
    *(ENABLE, RENEWAL, SECOND_STEP, "POST /api/auth/2fa/disable"),
    *("PUT /api/auth/me/password", "PATCH /api/auth/me", "DELETE /api/auth/me"),
}


class SecondFactor:
    """What a user has beside the password: nothing, before `enrol`."""

    def __init__(self, session: requests.Session, url: str, *, password: str) -> None:
        self._session = session
        self._url = url
        self._password = password
        self._secret = b""
        self._recovery_codes: list[str] = []

    def enrol(self, token: str) -> None:
        """Put a second factor in force."""
        self._set_up(token)
        enabled = self._post("/2fa/enable", {"code": self._code()}, token)
        enabled.raise_for_status()
        self._recovery_codes = enabled.json()["recovery_codes"]

    def typed(self, label: str, pair: dict[str, Any]) -> dict[str, str]:
        """Return the fields that let a call of the user succeed. pair: the user's tokens."""
        if label == ENABLE and not self._recovery_codes:
            self._set_up(pair["token"])
        # The code of this moment has enabled the second factor. The next one is good as well (TOTP_WINDOW).
        fields = {"code": self._code(steps=1 if label == RENEWAL else 0)} if self._secret else {}
        # `code` counts before `recovery_code`.
        if self._recovery_codes and label not in (ENABLE, RENEWAL):
            fields = {"code": "", "recovery_code": self._recovery_codes.pop()}
        if label == SECOND_STEP:
            fields |= self._ticket(pair["user"]["email"])
        return fields

    def _set_up(self, token: str) -> None:
        setup = self._post("/2fa/setup", {"password": self._password}, token)
        if setup.ok:  # not after a call that has ended the session or changed the password
            self._secret = base64.b32decode(setup.json()["secret"])

    def _ticket(self, email: str) -> dict[str, str]:
        """Return the ticket of a login. Returns {} if the user needs no code."""
        body = self._post("/login", {"email": email, "password": self._password}).json()
        return {"ticket": body["ticket"]} if "ticket" in body else {}

    def _code(self, *, steps: int = 0) -> str:
        """Return the code of this moment, or of so many steps later (RFC 6238)."""
        digest = hmac.digest(self._secret, (int(time.time()) // 30 + steps).to_bytes(8, "big"), "sha1")
        offset = digest[-1] & 0xF
        number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
        return f"{number % 10**6:06}"

    def _post(self, path: str, body: dict[str, str], token: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self._session.post(f"{self._url}/api/auth{path}", json=body, headers=headers, timeout=10)
