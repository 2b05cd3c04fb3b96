"""The pauses between the tries of a mail, and of a mail server that fails every mail."""

import itertools

import pytest

from auth.mail import retries

DAY = 24 * 3600


def ages_at_the_tries(jitter: float) -> list[float]:
    """Return how old a mail is at each of its tries until it is given up."""
    ages = [0.0]
    while not retries.is_too_old(ages[-1]):
        ages.append(ages[-1] + retries.pause_seconds(ages[-1], jitter=jitter))
    return ages


def test_pauses_double_from_half_a_minute_to_an_hour() -> None:
    ages = ages_at_the_tries(1)

    pauses = [later - earlier for earlier, later in itertools.pairwise(ages)]
    assert pauses[:9] == [30, 30, 60, 120, 240, 480, 960, 1920, 3600]
    assert set(pauses[8:]) == {3600}


@pytest.mark.parametrize("jitter", [0.8, 1, 1.2])
def test_mail_is_tried_for_a_day(jitter: float) -> None:
    ages = ages_at_the_tries(jitter)

    assert DAY <= ages[-1] < DAY + 1.2 * 3600
    assert 25 < len(ages) < 50


def test_pauses_of_an_outage_grow_to_a_minute() -> None:
    pauses = [retries.outage_seconds(failures, jitter=1) for failures in range(1, 9)]

    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    assert retries.outage_seconds(10**6, jitter=1) == 60
