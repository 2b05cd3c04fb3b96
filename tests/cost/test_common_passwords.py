"""What the look-up among the common passwords costs in CPU time."""

import time

import pytest

from runtime import common_passwords
from tests.support import yardstick

MAX_SECONDS = 20e-6
CALLS = 100
LINES = common_passwords.FILE.read_text().split("\n")[:-1]


def seconds_for(password: str) -> float:
    started = time.thread_time()
    for _ in range(CALLS):
        common_passwords.contains(password)
    return (time.thread_time() - started) / CALLS


@pytest.mark.parametrize(
    "password",
    [
        pytest.param(LINES[0], id="first"),
        pytest.param(LINES[-1], id="last"),
        pytest.param("securepassword123", id="absent"),
        pytest.param("x" * 256, id="longest"),
        pytest.param((LINES[len(LINES) // 2] * 256)[:256], id="longest that begins like a line"),
        pytest.param("\U0001f512" * 256, id="longest in bytes"),
        pytest.param("\n" * 256, id="line ends"),
    ],
)
def test_look_up_takes_less_than_20_microseconds(password: str) -> None:
    assert yardstick.share(lambda: seconds_for(password), MAX_SECONDS) < 1
