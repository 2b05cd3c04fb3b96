"""The queue of waiting threads: whose turn is next, how many of a network may wait, and what is forgotten."""

import random
from collections import Counter
from itertools import islice

import pytest

from runtime.fair_queue import FairQueue, Full, Turn

STORM, ADA, BOB = "203.0.113.7", "198.51.100.1", "2001:db8:0:1::/64"


def filled(queue: FairQueue, *networks: str) -> list[Turn]:
    return [queue.add(network) for network in networks]


def popped(queue: FairQueue, count: int) -> list[str]:
    """Return the networks of the next turns."""
    return [queue.pop().network for _ in range(count)]


def test_turns_of_a_network_come_in_the_order_of_arrival() -> None:
    queue = FairQueue(10)
    turns = filled(queue, ADA, ADA, ADA)

    assert [queue.pop() for _ in turns] == turns


def test_networks_that_wait_take_turns() -> None:
    queue = FairQueue(20)
    filled(queue, STORM, STORM, STORM, STORM, ADA, ADA, BOB, BOB)

    assert popped(queue, 8) == [STORM, ADA, BOB, STORM, ADA, BOB, STORM, STORM]


def test_network_that_begins_to_wait_waits_for_one_turn_of_each_other() -> None:
    queue = FairQueue(20)
    filled(queue, *[STORM] * 8)
    popped(queue, 3)

    filled(queue, ADA, BOB)

    assert popped(queue, 4) == [STORM, ADA, BOB, STORM]


def test_stream_of_new_networks_does_not_starve_one_that_waits() -> None:
    queue = FairQueue(20)
    filled(queue, *[STORM] * 8)
    popped(queue, 1)
    served = []

    for number in range(8):
        filled(queue, f"192.0.2.{number}")
        served += popped(queue, 1)

    assert served.count(STORM) == 3


def test_storm_gets_no_larger_share_than_each_of_many_networks() -> None:
    queue = FairQueue(32)
    filled(queue, *[STORM] * 16)
    popped(queue, 1)
    served = []
    others = (f"192.0.2.{number}" for number in range(100))
    filled(queue, *islice(others, 8))
    for _ in range(45):
        served += popped(queue, 1)
        filled(queue, STORM if served[-1] == STORM else next(others))  # nine networks wait at any time

    assert 5 <= served.count(STORM) <= 6


@pytest.mark.parametrize(("max_waiting", "allowed"), [(32, 16), (5, 2), (2, 1), (1, 1), (0, 0)])
def test_network_fills_half_of_the_places(max_waiting: int, allowed: int) -> None:
    queue = FairQueue(max_waiting)
    filled(queue, *[STORM] * allowed)

    with pytest.raises(Full):
        queue.add(STORM)

    assert len(queue) == allowed


def test_other_networks_fill_the_other_half_and_no_more() -> None:
    queue = FairQueue(4)
    filled(queue, STORM, STORM, ADA, BOB)

    with pytest.raises(Full):
        queue.add("192.0.2.1")


def test_turns_without_a_network_fill_all_places() -> None:
    queue = FairQueue(4)
    filled(queue, "", "", "", "")

    with pytest.raises(Full):
        queue.add("")


def test_extra_turns_may_wait_also_of_one_network() -> None:
    queue = FairQueue(2)
    for _ in range(3):
        queue.add(STORM, extra=2)

    with pytest.raises(Full):
        queue.add(STORM, extra=2)
    queue.add(ADA, extra=2)
    with pytest.raises(Full):
        queue.add(BOB, extra=2)


def test_turn_that_gives_up_leaves_its_place_to_another() -> None:
    queue = FairQueue(2)
    [turn] = filled(queue, STORM)

    assert queue.remove(turn)
    assert not queue.remove(turn)

    assert filled(queue, STORM) == [queue.pop()]


def test_first_is_the_turn_that_pop_returns() -> None:
    queue = FairQueue(20)
    assert queue.first() is None
    filled(queue, STORM, STORM, ADA, ADA)

    for _ in range(4):
        assert queue.first() is queue.pop()


def test_queue_forgets_every_network_that_no_longer_waits() -> None:
    queue = FairQueue(20)
    for number in range(1000):
        served, impatient = filled(queue, f"192.0.2.{number}", f"198.51.100.{number}")
        assert queue.pop() is served
        queue.remove(impatient)

    assert (len(queue), len(queue._turns)) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_queue_loses_no_turn_and_waits_for_no_network_longer_than_its_share(seed: int) -> None:
    """Compare with a simple model: a network is served at least once in 5 hand-outs to 5 networks."""
    choose = random.Random(seed)  # noqa: S311
    queue, waiting = FairQueue(16), Counter[str]()
    since: dict[str, int] = {}
    turns: list[Turn] = []
    for _ in range(2000):
        action = choose.random()
        if action < 0.55:
            network = choose.choice([STORM, STORM, STORM, ADA, BOB, "", "192.0.2.1"])
            try:
                turns.append(queue.add(network))
            except Full:
                assert sum(waiting.values()) == 16 or waiting[network] == 8
                continue
            waiting[network] += 1
            since.setdefault(network, 0)
        elif action < 0.6 and turns:
            turn = turns.pop(choose.randrange(len(turns)))
            assert queue.remove(turn)
            waiting[turn.network] -= 1
        elif turns:
            turn = queue.pop()
            turns.remove(turn)
            waiting[turn.network] -= 1
            since = {network: count + 1 for network, count in since.items() if network != turn.network}
        since = {network: since.get(network, 0) for network, count in waiting.items() if count}
        assert len(queue) == len(turns) == sum(waiting.values())
        assert max(since.values(), default=0) < 5
