"""By which address a client is limited: proxies, IPv6, IPv4-mapped, none at all."""

from typing import Any

import pytest

from runtime.settings import Rate
from tests.support.actor import LOGIN, ClientOf
from tests.support.database import Sql
from tests.support.throttling import client_at, codes, guess, keys

PROXY = "10.0.0.1"


def limited(sql: Sql) -> list[str]:
    """Return the networks that have a budget."""
    return [key.removeprefix("address ") for key in keys(sql, "address ")]


@pytest.mark.parametrize(
    ("addresses", "networks"),
    [
        pytest.param(["192.0.2.1", "192.0.2.1"], ["192.0.2.1"], id="IPv4"),
        pytest.param(["192.0.2.1", "192.0.2.2"], ["192.0.2.1", "192.0.2.2"], id="IPv4 in full"),
        pytest.param(["2001:db8:0:1::1", "2001:db8:0:1:f:f:f:f"], ["2001:db8:0:1::/64"], id="a /64"),
        pytest.param(
            ["2001:db8:0:1::1", "2001:db8:0:2::1"], ["2001:db8:0:1::/64", "2001:db8:0:2::/64"], id="two /64"
        ),
        pytest.param(["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.1"], id="IPv4-mapped"),
    ],
)
def test_address_is_limited_by_its_network(
    client_of: ClientOf, sql: Sql, addresses: list[str], networks: list[str]
) -> None:
    app = client_of(limit_address_failures=Rate(1, "1h")).application

    answers = [guess(client_at(app, address), username="nobody")[0] for address in addresses]

    assert limited(sql) == networks
    assert codes(answers)[1] == ("rate_limited" if len(networks) == 1 else "invalid_credentials")


@pytest.mark.parametrize("address", ["", "unknown", "@"])
def test_client_without_an_address_is_limited_by_account_alone(
    client_of: ClientOf, sql: Sql, address: str
) -> None:
    app = client_of(limit_address_failures=Rate(1, "1h"), limit_account_failures=Rate(2, "1h")).application

    answers = guess(client_at(app, address), 3, username="nobody") + guess(
        client_at(app, address), username="x"
    )

    failed, refused = "invalid_credentials", "too_many_attempts"
    assert codes(answers) == [failed, failed, refused, failed]
    assert limited(sql) == []


@pytest.mark.parametrize(
    ("hops", "sent", "network"),
    [
        pytest.param(0, "198.51.100.1", PROXY, id="no proxy, forged"),
        pytest.param(1, "198.51.100.1", "198.51.100.1", id="one proxy"),
        pytest.param(1, "203.0.113.9, 198.51.100.1", "198.51.100.1", id="one proxy, forged"),
        pytest.param(1, None, PROXY, id="one proxy, past it"),
        pytest.param(1, "203.0.113.9, 2001:db8::1", "2001:db8::/64", id="one proxy, IPv6"),
        pytest.param(1, "203.0.113.9, [2001:db8::1]:443", "2001:db8::/64", id="one proxy, with a port"),
        pytest.param(1, "203.0.113.9, 198.51.100.1:9999", "198.51.100.1", id="one proxy, IPv4 with a port"),
        pytest.param(2, "198.51.100.1, 10.0.0.2", "198.51.100.1", id="two proxies"),
        pytest.param(2, "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1", id="two proxies, forged"),
        pytest.param(2, "198.51.100.1", PROXY, id="two proxies, past one"),
    ],
)
def test_address_behind_proxies_is_the_one_that_they_saw(
    client_of: ClientOf, sql: Sql, hops: int, sent: str | None, network: str
) -> None:
    client = client_at(client_of(trusted_proxies=hops).application, PROXY)
    headers: dict[str, Any] = {"X-Forwarded-For": sent} if sent else {}

    client.post(LOGIN, json={"username": "nobody", "password": "x"}, headers=headers)

    assert limited(sql) == [network]


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_forged_entries_do_not_escape_the_limit(client_of: ClientOf, hops: int) -> None:
    app = client_of(trusted_proxies=hops, limit_address_failures=Rate(3, "1h")).application
    client = client_at(app, PROXY)
    real = ", ".join(["198.51.100.1", "10.0.0.2"][:hops])

    answers = [
        client.post(
            LOGIN,
            json={"username": f"name{number}", "password": "x"},
            headers={"X-Forwarded-For": f"203.0.113.{number}{', ' if real else ''}{real}"},
        )
        for number in range(6)
    ]

    assert codes(answers) == ["invalid_credentials"] * 3 + ["rate_limited"] * 3
