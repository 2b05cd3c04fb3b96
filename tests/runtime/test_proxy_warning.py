"""The line about a proxy that nobody trusts: all clients may then count as one."""

from collections.abc import Callable
from typing import Any

import pytest

from runtime.headers import ProxyWarning
from tests.support.actor import ClientOf

FORWARDED = {"X-Forwarded-For": "203.0.113.9"}


def lines_about_proxies(log_lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in log_lines if line["message"].startswith("untrusted_proxy: ")]


def test_proxy_that_is_not_trusted_is_one_loud_line(
    client_of: ClientOf, log_lines: list[dict[str, Any]]
) -> None:
    client = client_of(trusted_proxies=0)

    for _ in range(3):
        client.get("/health/live", headers=FORWARDED)

    (line,) = lines_about_proxies(log_lines)
    assert line["level"] == "WARNING"
    assert "ALL CLIENTS COUNT AS ONE" in line["message"]
    assert "set TRUSTED_PROXIES" in line["message"]
    assert "203.0.113.9" not in line["message"]


@pytest.mark.parametrize(
    ("trusted", "headers"),
    [
        pytest.param(0, {}, id="no proxy"),
        pytest.param(1, FORWARDED, id="trusted proxy"),
        pytest.param(0, {"X-Forwarded-Proto": "https", "Forwarded": "for=1.2.3.4"}, id="other headers"),
    ],
)
def test_other_requests_are_no_line(
    client_of: ClientOf, log_lines: list[dict[str, Any]], trusted: int, headers: dict[str, str]
) -> None:
    client_of(trusted_proxies=trusted).get("/health/live", headers=headers)

    assert lines_about_proxies(log_lines) == []


def test_request_costs_one_look_up() -> None:
    class Environ(dict[str, Any]):
        looked_up = 0

        def __contains__(self, name: object) -> bool:
            self.looked_up += 1
            return super().__contains__(name)

    def answer(_environ: dict[str, Any], _start: Callable[..., Any]) -> list[bytes]:
        return []

    environ = Environ()

    ProxyWarning(answer)(environ, lambda *_: lambda _: None)

    assert environ.looked_up == 1
