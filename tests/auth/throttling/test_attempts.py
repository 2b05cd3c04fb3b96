"""Which budgets an attempt is charged to: by a cookie, a session, the address of a live session, or none."""

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from auth.client import Client
from auth.throttling import attempts, device_cookie, keys
from auth.throttling.attempts import Attempt
from auth.throttling.counters import Charge
from auth.throttling.device_cookie import Device
from auth.users import Credential, User
from config import Settings
from runtime.settings import Rate
from tests.support import SECRET_KEY

NOW = 1_800_000_000.0
SETTINGS = Settings(
    db_url="postgresql://db/users",
    secret_key=SECRET_KEY,
    limit_address_failures=Rate(1, "1h"),
    limit_account_failures=Rate(2, "1h"),
    limit_device_failures=Rate(3, "1h"),
    limit_registrations=Rate(4, "1h"),
    lockout_failures=5,
)
HOME, AWAY = "192.0.2.1", "198.51.100.7"
ACCOUNT = keys.account(7)
STRANGERS, ADDRESSES = keys.strangers(ACCOUNT), keys.known_addresses(ACCOUNT)
DEVICE = Device(7, "ab" * 16)
COOKIE = device_cookie.sign(DEVICE, key=SECRET_KEY, now=NOW)
ANOTHER_USERS_COOKIE = device_cookie.sign(Device(70, "ab" * 16), key=SECRET_KEY, now=NOW)
OLD_COOKIE = device_cookie.sign(DEVICE, key=SECRET_KEY, now=NOW - 180 * 86400)

OF_STRANGERS = Charge(STRANGERS, Rate(2, "1h"), "too_many_attempts", 5)
OF_ADDRESSES = Charge(ADDRESSES, Rate(3, "1h"), "too_many_attempts", 5)
OF_DEVICE = Charge(keys.device(DEVICE), Rate(3, "1h"), "too_many_attempts", 5)
OF_SESSION = Charge(keys.session(7, 9), Rate(3, "1h"), "too_many_attempts", 5)
OF_NO_SESSION = Charge(keys.session(7, None), Rate(3, "1h"), "too_many_attempts", 5)


def of_address(network: str) -> Charge:
    return Charge(keys.address(network), Rate(1, "1h"), "rate_limited")


def credential_of(*session_ips: str) -> Credential:
    user = User(7, "ada", "ada@example.com", None, None, datetime(2026, 1, 1, tzinfo=timezone.utc))
    return Credential(user, "hash", session_ips)


def log_in(ip: str, *, cookie: str = "", session_ips: tuple[str, ...] = ()) -> Attempt:
    client = Client(ip, "browser", cookie)
    return attempts.login("ada", credential_of(*session_ips), client, settings=SETTINGS, now=NOW)


@pytest.mark.parametrize(
    ("ip", "cookie", "session_ips", "charges"),
    [
        pytest.param(AWAY, "", (), [OF_STRANGERS, of_address(AWAY)], id="stranger"),
        pytest.param("", "", (), [OF_STRANGERS], id="stranger without an address"),
        pytest.param("", "", ("",), [OF_STRANGERS], id="no address, as a session has none"),
        pytest.param("unknown", "", ("unknown",), [OF_STRANGERS], id="text that is no address"),
        pytest.param(AWAY, "", (HOME,), [OF_STRANGERS, of_address(AWAY)], id="session elsewhere"),
        pytest.param(HOME, "", (AWAY, HOME), [OF_ADDRESSES, of_address(HOME)], id="address of a session"),
        pytest.param(f"::ffff:{HOME}", "", (HOME,), [OF_ADDRESSES, of_address(HOME)], id="IPv4-mapped"),
        pytest.param(
            "2001:db8:0:1:f::9",
            "",
            ("2001:db8:0:1::1",),
            [OF_ADDRESSES, of_address("2001:db8:0:1::/64")],
            id="/64 of a session",
        ),
        pytest.param(
            "2001:db8:0:2::1",
            "",
            ("2001:db8:0:1::1",),
            [OF_STRANGERS, of_address("2001:db8:0:2::/64")],
            id="the /64 beside",
        ),
        pytest.param(AWAY, COOKIE, (), [OF_DEVICE], id="cookie"),
        pytest.param(HOME, COOKIE, (HOME,), [OF_DEVICE], id="cookie at the address of a session"),
        pytest.param("", COOKIE, (), [OF_DEVICE], id="cookie without an address"),
        pytest.param(
            AWAY, ANOTHER_USERS_COOKIE, (), [OF_STRANGERS, of_address(AWAY)], id="another user's cookie"
        ),
        pytest.param(
            HOME, ANOTHER_USERS_COOKIE, (HOME,), [OF_ADDRESSES, of_address(HOME)], id="that, known address"
        ),
        pytest.param(AWAY, OLD_COOKIE, (), [OF_STRANGERS, of_address(AWAY)], id="old cookie"),
        pytest.param(AWAY, COOKIE[:-1], (), [OF_STRANGERS, of_address(AWAY)], id="forged cookie"),
    ],
)
def test_login_is_charged_to(
    ip: str, cookie: str, session_ips: tuple[str, ...], charges: list[Charge]
) -> None:
    attempt = log_in(ip, cookie=cookie, session_ips=session_ips)

    assert (attempt.charges, attempt.user_id, attempt.budget) == (charges, 7, charges[0].key)
    assert attempt.is_given_back


@pytest.mark.parametrize(
    ("attempt", "unlock"),
    [
        pytest.param(log_in(AWAY), [], id="stranger"),
        pytest.param(log_in(HOME, session_ips=(HOME,)), [STRANGERS], id="known address"),
        pytest.param(log_in(AWAY, cookie=COOKIE), [STRANGERS, ADDRESSES], id="known device"),
    ],
)
def test_login_from_a_known_device_ends_the_locks_of_others(attempt: Attempt, unlock: list[str]) -> None:
    assert list(attempt.unlock) == unlock


@pytest.mark.parametrize("cookie", ["", COOKIE, ANOTHER_USERS_COOKIE])
def test_login_of_nobody_is_a_strangers(cookie: str) -> None:
    client = Client(AWAY, "browser", cookie)

    attempt = attempts.login("nobody", None, client, settings=SETTINGS, now=NOW)

    budget = keys.strangers(keys.unknown_account("nobody", key=SECRET_KEY))
    assert attempt.charges == [Charge(budget, Rate(2, "1h"), "too_many_attempts", 5), of_address(AWAY)]
    assert (attempt.user_id, attempt.budget, attempt.unlock) == (None, budget, ())


@pytest.mark.parametrize(
    ("session_id", "ip", "cookie", "charges"),
    [
        pytest.param(9, AWAY, "", [OF_SESSION, of_address(AWAY)], id="session"),
        pytest.param(9, "", "", [OF_SESSION], id="session without an address"),
        pytest.param(None, AWAY, "", [OF_NO_SESSION, of_address(AWAY)], id="token without a session"),
        pytest.param(9, AWAY, COOKIE, [OF_DEVICE], id="cookie"),
        pytest.param(9, AWAY, ANOTHER_USERS_COOKIE, [OF_SESSION, of_address(AWAY)], id="another user's"),
        pytest.param(9, AWAY, OLD_COOKIE, [OF_SESSION, of_address(AWAY)], id="old cookie"),
    ],
)
def test_password_with_an_access_token_is_charged_to(
    session_id: int | None, ip: str, cookie: str, charges: list[Charge]
) -> None:
    client = Client(ip, "browser", cookie)

    attempt = attempts.reauthentication(7, session_id, client, settings=SETTINGS, now=NOW)

    assert (attempt.charges, attempt.budget) == (charges, charges[0].key)
    assert attempt.unlock == [STRANGERS, ADDRESSES]
    assert attempt.is_given_back


@pytest.mark.parametrize(
    ("ip", "network"),
    [(AWAY, AWAY), (f"::ffff:{AWAY}", AWAY), ("2001:db8::9", "2001:db8::/64"), ("", ""), ("unknown", "")],
)
def test_token_of_nobody_and_registration_are_charged_to_the_address(ip: str, network: str) -> None:
    client = Client(ip, "browser", COOKIE)

    by_token = attempts.unknown_token(client, settings=SETTINGS)
    by_registration = attempts.registration(client, settings=SETTINGS)

    assert by_token.charges == ([of_address(network)] if network else [])
    registrations = Charge(keys.registrations(network), Rate(4, "1h"), "rate_limited")
    assert by_registration.charges == ([registrations] if network else [])
    assert not by_registration.is_given_back


@pytest.mark.parametrize(
    ("ip", "cookie", "is_limited", "of_client"),
    [
        pytest.param(AWAY, "", True, [of_address(AWAY)], id="address"),
        pytest.param(AWAY, COOKIE, True, [], id="cookie"),
        pytest.param("", "", True, [], id="no address"),
        pytest.param(AWAY, "", False, [], id="limits are off"),
    ],
)
def test_code_of_a_second_factor_is_charged_to(
    ip: str, cookie: str, is_limited: bool, of_client: list[Charge]
) -> None:
    client, settings = Client(ip, "browser", cookie), replace(SETTINGS, rate_limits=is_limited)

    attempt = attempts.second_factor(7, client, settings=settings, now=NOW)

    assert attempt.charges == [
        Charge("second factor 7 5/5m", Rate(5, "5m"), "too_many_attempts"),
        Charge("second factor 7 50/1d", Rate(50, "1d"), "too_many_attempts"),
        *of_client,
    ]
    assert (attempt.user_id, attempt.budget, attempt.unlock) == (7, "", ())
    assert attempt.is_given_back
    assert not attempt.is_by_stranger
