"""The calls that need an access token, each as it succeeds for ada: method, path, body."""

import pytest

from tests.support import PASSWORD
from tests.support.actor import ME, ME_PASSWORD, NEW_PASSWORD, SESSIONS

READING_CALLS = [
    pytest.param("GET", ME, None, id="me"),
    pytest.param("GET", SESSIONS, None, id="list sessions"),
]
# Calls that ask for the current password.
PASSWORD_CALLS = [
    pytest.param("PATCH", ME, {"username": "countess", "current_password": PASSWORD}, id="PATCH"),
    pytest.param("PUT", ME_PASSWORD, {"current_password": PASSWORD, "new_password": NEW_PASSWORD}, id="PUT"),
    pytest.param("DELETE", ME, {"password": PASSWORD}, id="DELETE"),
]
GUARDED_CALLS = [
    *READING_CALLS,
    pytest.param("DELETE", SESSIONS, None, id="revoke other sessions"),
    pytest.param("DELETE", f"{SESSIONS}/1", None, id="revoke a session"),
    *PASSWORD_CALLS,
]
