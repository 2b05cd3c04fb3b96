"""The arithmetic of limits: GCRA decides as an exact token bucket does."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.throttling import limits
from runtime.settings import Rate
from tests.support.budgets import Bucket, examples

ODD_RATES = [Rate(7, "10s"), Rate(6, "10s"), Rate(999_999, "31d"), Rate(999_999, "1s"), Rate(1, "31d")]
RATES = [Rate(1, "1s"), Rate(3, "1s"), Rate(10, "10m"), *ODD_RATES]
MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)

every_rate = pytest.mark.parametrize("rate", RATES, ids=str)
rates = st.builds(
    Rate, st.integers(1, 12), st.sampled_from(["1s", "7s", "10s", "1m", "31d"])
) | st.sampled_from(RATES)


class Budget:
    """A budget by `limits`. Times are microseconds."""

    def __init__(self, rate: Rate) -> None:
        self.rate, self.full_at = rate, 0

    def seconds_to_wait(self, now: int) -> int:
        return limits.seconds_to_wait(self.rate, max(0, self.full_at - now) * MICROSECOND)

    def take(self, now: int) -> None:
        self.full_at = max(self.full_at, now) + limits.emission_interval(self.rate) // MICROSECOND


@examples
@given(rate=rates, data=st.data())
def test_budget_decides_as_a_token_bucket(rate: Rate, data: st.DataObject) -> None:
    budget, model, now = Budget(rate), Bucket(rate), 0
    interval = limits.emission_interval(rate) // MICROSECOND
    gaps = st.just(0) | st.integers(0, 3 * interval) | st.sampled_from([interval - 1, interval, interval + 1])

    for gap in data.draw(st.lists(gaps, min_size=1, max_size=40)):
        now += gap
        wait = budget.seconds_to_wait(now)
        assert wait == model.seconds_to_wait(now)
        if not wait:
            budget.take(now)
            model.take()


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate.count < 100], ids=str)
def test_full_budget_allows_a_burst_of_exactly_its_count(rate: Rate) -> None:
    budget = Budget(rate)

    allowed = 0
    while allowed <= rate.count and not budget.seconds_to_wait(0):
        budget.take(0)
        allowed += 1

    assert allowed == rate.count


@every_rate
def test_budget_refills_evenly_over_its_period(rate: Rate) -> None:
    interval = limits.emission_interval(rate)

    assert timedelta(0) < interval
    # Whole microseconds: an interval is shorter by a part of one.
    assert timedelta(0) <= timedelta(seconds=rate.seconds) - rate.count * interval < rate.count * MICROSECOND


@every_rate
def test_wait_is_exact_and_rounded_up_to_seconds(rate: Rate) -> None:
    last_moment = limits.burst_tolerance(rate)

    assert limits.seconds_to_wait(rate, timedelta(0)) == 0
    assert limits.seconds_to_wait(rate, last_moment) == 0
    assert limits.seconds_to_wait(rate, last_moment + MICROSECOND) == 1
    assert limits.seconds_to_wait(rate, last_moment + SECOND) == 1
    assert limits.seconds_to_wait(rate, last_moment + SECOND + MICROSECOND) == 2
