"""The cookie of a known device: what it names, for whom, and for how long."""

import re

import pytest

from auth.throttling import device_cookie
from auth.throttling.device_cookie import ID_BYTES, MAX_AGE_SECONDS, Device
from tests.support import SECRET_KEY

NOW = 1_800_000_000.9
DEVICE = device_cookie.new(7, random=bytes(range(ID_BYTES)))
VALUE = device_cookie.sign(DEVICE, key=SECRET_KEY, now=NOW)
USER_ID, DEVICE_ID, ISSUED_AT, SIGNATURE = VALUE.split(".")


def check(value: str, *, user_id: int = 7, key: str = SECRET_KEY, now: float = NOW) -> Device | None:
    return device_cookie.check(value, user_id=user_id, key=key, now=now)


def forged(value: str, position: int) -> str:
    """Return `value` with another character of the same kind at a position."""
    character = "1" if value[position] != "1" else "2"
    return value[:position] + character + value[position + 1 :]


def test_cookie_names_the_device_that_was_signed() -> None:
    assert check(VALUE) == DEVICE == Device(7, bytes(range(ID_BYTES)).hex())
    assert ("7", bytes(range(ID_BYTES)).hex(), "1800000000") == (USER_ID, DEVICE_ID, ISSUED_AT)


def test_value_needs_no_quotes_in_a_cookie() -> None:
    assert re.fullmatch("[A-Za-z0-9._-]+", VALUE)


@pytest.mark.parametrize("user_id", [1, 70, 2**31, 2**63 - 1])
def test_cookie_of_any_user_id_is_checked(user_id: int) -> None:
    value = device_cookie.sign(Device(user_id, DEVICE.id), key=SECRET_KEY, now=NOW)

    assert check(value, user_id=user_id) == Device(user_id, DEVICE.id)
    assert check(value, user_id=user_id - 1) is None


def test_cookie_that_is_signed_again_keeps_the_device_and_lives_longer() -> None:
    later = NOW + MAX_AGE_SECONDS - 1

    rotated = device_cookie.sign(DEVICE, key=SECRET_KEY, now=later)

    assert rotated != VALUE
    assert check(rotated, now=later + MAX_AGE_SECONDS - 1) == DEVICE
    assert check(VALUE, now=later + MAX_AGE_SECONDS - 1) is None


@pytest.mark.parametrize(
    ("age_seconds", "is_known"),
    [
        pytest.param(0, True, id="new"),
        pytest.param(180 * 86400 - 1, True, id="a second less than 180 days"),
        pytest.param(180 * 86400, False, id="180 days"),
        pytest.param(1000 * 86400, False, id="1000 days"),
        pytest.param(-60, True, id="of a host whose clock is ahead"),
    ],
)
def test_cookie_is_good_for_180_days(age_seconds: int, is_known: bool) -> None:
    assert (check(VALUE, now=int(NOW) + age_seconds) is not None) == is_known


@pytest.mark.parametrize("position", [0, *(len(VALUE) - len(SIGNATURE) + at for at in range(43))])
def test_cookie_with_a_forged_user_or_signature_is_refused(position: int) -> None:
    value = forged(VALUE, position)

    assert [user_id for user_id in (1, 2, 7) if check(value, user_id=user_id)] == []


@pytest.mark.parametrize("position", range(2, 2 + len(DEVICE_ID) + 1 + len(ISSUED_AT)))
def test_cookie_with_a_forged_device_or_time_is_refused(position: int) -> None:
    assert check(forged(VALUE, position)) is None


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("nonsense", id="nonsense"),
        pytest.param("7" * 100_000, id="digits without an end"),
        pytest.param(VALUE * 1000, id="a thousand times"),
        pytest.param("0" + VALUE, id="leading zero"),
        pytest.param("+" + VALUE, id="plus"),
        pytest.param(" " + VALUE, id="blank before"),
        pytest.param(VALUE + "\n", id="line end"),
        pytest.param(VALUE + "=", id="padding"),
        pytest.param(VALUE + "\0", id="NUL"),
        pytest.param(VALUE.replace("7.", "\u0667.", 1), id="digit of another script"),
        pytest.param(VALUE[:-1] + "\u00e9", id="not ASCII"),
        pytest.param(VALUE[:-1] + "\udcff", id="lone surrogate"),
        pytest.param(VALUE[:-1], id="cut off"),
        pytest.param(f"{USER_ID}.{DEVICE_ID}.{ISSUED_AT}.", id="no signature"),
        pytest.param(f"{USER_ID}.{DEVICE_ID}.{ISSUED_AT}", id="three parts"),
        pytest.param(f"{USER_ID}.{DEVICE_ID.upper()}.{ISSUED_AT}.{SIGNATURE}", id="capital letters"),
        pytest.param(f"{USER_ID}.{DEVICE_ID}.0{ISSUED_AT}.{SIGNATURE}", id="leading zero of the time"),
        pytest.param(f"{USER_ID}.{DEVICE_ID}.{'9' * 5000}.{SIGNATURE}", id="time without an end"),
        pytest.param(f"-{USER_ID}.{DEVICE_ID}.{ISSUED_AT}.{SIGNATURE}", id="negative user"),
    ],
)
def test_text_that_is_no_cookie_is_refused(value: str) -> None:
    assert check(value) is None


def test_cookie_of_another_key_is_refused() -> None:
    assert check(VALUE, key=SECRET_KEY + "x") is None
    assert check(device_cookie.sign(DEVICE, key="another", now=NOW)) is None
