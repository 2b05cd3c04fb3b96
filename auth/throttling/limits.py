"""The arithmetic of a limit: the generic cell rate algorithm (GCRA), which needs one timestamp for a budget.

The timestamp is the moment at which the budget is full again. Each charge moves it by the emission interval.
A charge is allowed while the moment is at most the burst tolerance away. Pure: auth.throttling.counters keeps
the timestamps.
"""

from datetime import timedelta

from runtime.settings import Rate


def emission_interval(rate: Rate) -> timedelta:
    """Return the time in which one charge becomes available again, in whole microseconds."""
    return timedelta(seconds=rate.seconds) // rate.count


def burst_tolerance(rate: Rate) -> timedelta:
    """Return how far away the moment may be at which the budget is full, if one more charge is allowed."""
    return emission_interval(rate) * (rate.count - 1)


def seconds_to_wait(rate: Rate, full_in: timedelta) -> int:
    """Return after how many seconds one more charge is allowed, 0 if it is allowed now.

    full_in: the time until the budget is full.
    """
    wait = full_in - burst_tolerance(rate)
    return max(0, -(-wait // timedelta(seconds=1)))  # rounded up
