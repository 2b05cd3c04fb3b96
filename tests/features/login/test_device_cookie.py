"""The cookie of a known device as browsers see it: its name, its attributes, when it is set."""

import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.http import parse_cookie

from auth.throttling import device_cookie
from auth.throttling.device_cookie import Device
from tests.support import PASSWORD, SECRET_KEY
from tests.support.actor import LOGIN, REGISTER, WRONG_PASSWORD, Actor, ClientOf
from tests.support.registrations import ADA
from tests.support.throttling import client_at

MAX_AGE = 180 * 24 * 3600
LOGIN_BODY = {"username": "ada", "password": PASSWORD}
HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.1"}


def cookies(answer: Any) -> dict[str, set[str]]:
    """Return the cookies that an answer sets: by name=value, their attributes without the date."""
    parts = [header.split("; ") for header in answer.headers.getlist("Set-Cookie")]
    return {value: {part for part in rest if not part.startswith("Expires=")} for value, *rest in parts}


def device_of(answer: Any) -> str:
    """Return the id of the device that an answer's cookie names."""
    [cookie] = cookies(answer)
    return cookie.split(".")[1]


def signed(*, user_id: int = 1, key: str = SECRET_KEY, now: float = 2e9) -> str:
    """Return the cookie of the device ababab..."""
    return device_cookie.sign(Device(user_id, "ab" * 16), key=key, now=now)


@pytest.fixture
def https(client_of: ClientOf, ada: Actor) -> FlaskClient:
    """A client of a service behind a proxy that ends TLS."""
    return client_of(trusted_proxies=1).application.test_client(use_cookies=False)


def test_cookie_over_http(app: Flask, ada: Actor) -> None:
    answer = client_at(app).post(LOGIN, json=LOGIN_BODY)

    [(cookie, attributes)] = cookies(answer).items()
    assert cookie.startswith(f"device={ada.id}.")
    assert attributes == {"HttpOnly", "Path=/", "SameSite=Lax", f"Max-Age={MAX_AGE}"}


def test_cookie_over_https_is_of_the_host_alone(https: FlaskClient, ada: Actor) -> None:
    answer = https.post(LOGIN, json=LOGIN_BODY, headers=HTTPS)

    [(cookie, attributes)] = cookies(answer).items()
    assert cookie.startswith(f"__Host-device={ada.id}.")
    # No Domain: browsers would refuse the cookie.
    assert attributes == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax", f"Max-Age={MAX_AGE}"}


def test_scheme_that_a_client_forges_is_ignored(app: Flask, ada: Actor) -> None:
    answer = client_at(app).post(LOGIN, json=LOGIN_BODY, headers=HTTPS)

    assert [cookie.split("=")[0] for cookie in cookies(answer)] == ["device"]


@pytest.mark.parametrize("name", ["__Host-device", "device"])
def test_cookie_of_http_is_not_read_over_https(https: FlaskClient, name: str) -> None:
    """Attack: another host of the domain, or a network without TLS, sets a cookie without the prefix."""
    first = https.post(LOGIN, json=LOGIN_BODY, headers=HTTPS)
    [value] = parse_cookie(next(iter(cookies(first)))).values()

    second = https.post(LOGIN, json=LOGIN_BODY, headers=HTTPS | {"Cookie": f"{name}={value}"})

    assert (device_of(second) == device_of(first)) == (name == "__Host-device")


def test_each_login_of_a_device_signs_its_id_again(app: Flask, ada: Actor) -> None:
    browser = client_at(app)
    old = signed(now=time.time() - 86400)
    browser.set_cookie("device", old)

    [cookie] = cookies(browser.post(LOGIN, json=LOGIN_BODY))

    assert cookie.startswith(f"device={ada.id}.{'ab' * 16}.")
    assert cookie != f"device={old}"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="none"),
        pytest.param("nonsense", id="nonsense"),
        pytest.param("x" * 7000, id="long"),
        pytest.param('"\\303\\251"', id="quoted, not ASCII"),
        pytest.param("\u00e9", id="not ASCII"),
        pytest.param(signed(user_id=99), id="another user's"),
        pytest.param(signed(key="another"), id="another key"),
        pytest.param(signed(now=1e9), id="old"),
    ],
)
def test_cookie_that_names_no_device_of_the_user_is_replaced_by_a_new_one(
    app: Flask, ada: Actor, value: str
) -> None:
    browser = client_at(app, use_cookies=False)

    answers = [browser.post(LOGIN, json=LOGIN_BODY, headers={"Cookie": f"device={value}"}) for _ in range(2)]

    devices = {device_of(answer) for answer in answers}
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(devices - {"ab" * 16}) == 2


def test_registration_and_change_of_the_password_set_the_cookie(app: Flask) -> None:
    browser = client_at(app)
    ada = Actor(browser)

    registered = browser.post(REGISTER, json=ADA)
    ada.pair = registered.get_json()
    changed = ada.change_password()

    assert device_of(registered) == device_of(changed)


def test_no_other_answer_sets_a_cookie(app: Flask, ada: Actor) -> None:
    browser = client_at(app)
    ada = ada.through(browser)

    answers = [ada.try_log_in(password=WRONG_PASSWORD), browser.post(REGISTER, json=ADA), ada.me()]
    answers += [ada.try_refresh(), ada.sessions(), ada.change_profile(first_name="Ada")]
    answers += [ada.change_password(current_password=WRONG_PASSWORD), ada.log_out()]

    assert [answer.status_code for answer in answers] == [401, 409, 200, 200, 200, 200, 403, 204]
    assert [answer for answer in answers if cookies(answer)] == []
