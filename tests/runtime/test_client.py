"""The client whose request a thread answers."""

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from runtime import client
from runtime.logs import RequestLog
from tests.support.actor import ClientOf
from tests.support.clients import acting_for


def networks_during(*remote_addresses: str | None) -> list[str]:
    """Return the network that the application sees during each of these requests, in a thread of its own."""
    seen = []

    def look(_environ: object, _start: object) -> Iterable[bytes]:
        seen.append(client.current_network())
        return []

    def answer_all() -> None:
        seen.append(client.current_network())
        for address in remote_addresses:
            RequestLog(look)({"REMOTE_ADDR": address}, lambda *_: lambda _: None)

    thread = threading.Thread(target=answer_all)
    thread.start()
    thread.join()
    return seen


def test_client_is_that_of_the_request_and_no_other() -> None:
    assert networks_during("192.0.2.7", "[2001:db8:0:1::7]:443", "", "::ffff:192.0.2.8", None) == [
        "",  # before the first request, as in a thread that answers none
        "192.0.2.7",
        "2001:db8:0:1::/64",
        "",
        "192.0.2.8",
        "",
    ]


def test_threads_have_their_own_clients() -> None:
    with acting_for("192.0.2.7"):
        assert networks_during("192.0.2.8") == ["", "192.0.2.8"]
        assert client.current_network() == "192.0.2.7"


@pytest.mark.parametrize(
    ("trusted", "network"), [(0, "192.0.2.1"), (1, "203.0.113.9"), (2, "2001:db8:0:1::/64")]
)
def test_client_is_the_one_behind_the_trusted_proxies(
    client_of: ClientOf, trusted: int, network: str
) -> None:
    forwarded: dict[str, Any] = {"X-Forwarded-For": "1.2.3.4, 2001:db8:0:1::7, 203.0.113.9"}

    with acting_for(""):
        client_of(trusted_proxies=trusted).get(
            "/health/live", headers=forwarded, environ_base={"REMOTE_ADDR": "192.0.2.1"}
        )

        assert client.current_network() == network
