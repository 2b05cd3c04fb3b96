"""Times as text, in UTC whatever the time zone they come in."""

from datetime import datetime, timedelta, timezone

import pytest

from runtime import clock


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(datetime(2026, 1, 2, 3, 4, 5, 678_900), id="naive"),
        pytest.param(datetime(2026, 1, 2, 3, 4, 5, 678_900, timezone.utc), id="UTC"),
        pytest.param(
            datetime(2026, 1, 2, 8, 34, 5, 678_900, timezone(timedelta(hours=5, minutes=30))), id="India"
        ),
    ],
)
def test_time_as_text_is_in_utc_with_milliseconds(at: datetime) -> None:
    assert clock.to_iso(at) == "2026-01-02T03:04:05.678Z"


def test_seconds_as_text_are_in_utc_with_milliseconds() -> None:
    assert clock.seconds_to_iso(1_767_323_045.6789) == "2026-01-02T03:04:05.678Z"


def test_now_is_aware_and_in_utc() -> None:
    assert clock.now().utcoffset() == timedelta(0)
