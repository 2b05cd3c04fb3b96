"""The device cookie of a request and of an answer; see auth.throttling.device_cookie."""

import re
import secrets
import time

from flask import Response, after_this_request, request

from auth.client import Client
from auth.services import Auth
from auth.throttling import device_cookie

# Flask's parser takes ten times as long for a header of many cookies.
_SENT = {name: re.compile(rf"(?:^|;) *{name}=([A-Za-z0-9._-]*)") for name in device_cookie.NAMES}


def sent_cookie() -> str:
    """Return the value of the request's device cookie, "" if there is none."""
    match = _SENT[_name()].search(request.headers.get("Cookie", ""))
    return match[1] if match else ""


def remember(auth: Auth, user_id: int, client: Client) -> None:
    """Have the answer set the cookie of a known device. A known device keeps its id.

    Limits need the cookie, and so do notices of new devices. Without both there is none.
    """
    if not auth.settings.rate_limits and auth.settings.mail is None:
        return
    key, now = auth.settings.secret_key, time.time()
    device = device_cookie.check(client.device_cookie, user_id=user_id, key=key, now=now)
    device = device or device_cookie.new(user_id, random=secrets.token_bytes(device_cookie.ID_BYTES))

    value = device_cookie.sign(device, key=key, now=now)
    secure = "Secure; " if request.is_secure else ""
    max_age = device_cookie.MAX_AGE_SECONDS
    # No character of the value needs quotes, which Flask's set_cookie would look for.
    cookie = f"{_name()}={value}; Max-Age={max_age}; {secure}HttpOnly; Path=/; SameSite=Lax"

    @after_this_request
    def set_cookie(answer: Response) -> Response:
        answer.headers.add("Set-Cookie", cookie)
        return answer


def _name() -> str:
    return device_cookie.SECURE_NAME if request.is_secure else device_cookie.NAME
