"""The bulkhead: how many threads are inside at once, how many wait, for how long and in which order.

Which order is fair, test_fair_queue.py says.
"""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.bulkhead import Bulkhead, Full, TooLate
from tests.support.clients import HONEST, STORM, Visits, acting_for, soon


def test_enter_beyond_running_and_waiting_is_refused_at_once() -> None:
    bulkhead = Bulkhead(running=1, waiting=0)
    bulkhead.enter(until=soon())

    started = time.monotonic()
    with pytest.raises(Full):
        bulkhead.enter(until=soon())

    assert time.monotonic() - started < 1


def test_enter_that_waits_too_long_is_refused() -> None:
    bulkhead = Bulkhead(running=1, waiting=1)
    bulkhead.enter(until=soon())

    with pytest.raises(Full):
        bulkhead.enter(until=soon(0.05))

    bulkhead.leave()
    bulkhead.enter(until=soon())


def test_waiting_caller_gets_the_place_that_is_left() -> None:
    bulkhead = Bulkhead(running=1, waiting=1)
    bulkhead.enter(until=soon())
    entered = threading.Event()

    def wait() -> None:
        bulkhead.enter(until=soon())
        entered.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not entered.wait(0.05)
    bulkhead.leave()

    assert entered.wait(5)
    waiter.join()


def test_no_more_than_running_are_inside_at_once() -> None:
    bulkhead = Bulkhead(running=2, waiting=20)
    lock = threading.Lock()
    inside, most = 0, 0

    def visit() -> None:
        nonlocal inside, most
        for _ in range(20):
            bulkhead.enter(until=soon(20))
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.0005)
            with lock:
                inside -= 1
            bulkhead.leave()

    threads = [threading.Thread(target=visit) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 2


def test_waiting_callers_are_served_in_the_order_in_which_they_came() -> None:
    bulkhead = Bulkhead(running=1, waiting=10)
    bulkhead.enter(until=soon())
    served: list[int] = []

    def visit(number: int) -> None:
        bulkhead.enter(until=soon())
        served.append(number)
        bulkhead.leave()

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(10)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(bulkhead._queue) < number + 1:
            time.sleep(0.001)
    bulkhead.leave()
    for thread in threads:
        thread.join()

    assert served == list(range(10))


def test_enter_that_gave_up_leaves_no_trace() -> None:
    bulkhead = Bulkhead(running=1, waiting=1)
    bulkhead.enter(until=soon())
    for _ in range(3):
        with pytest.raises(Full):
            bulkhead.enter(until=soon(0.01))

    bulkhead.leave()
    bulkhead.enter(until=soon())

    with pytest.raises(Full):
        bulkhead.enter(until=soon(0.01))


def test_network_of_half_of_the_waiting_threads_is_refused_at_once_and_others_are_not() -> None:
    bulkhead = Bulkhead(running=1, waiting=4)
    bulkhead.enter(until=soon())
    visits = Visits(bulkhead)
    visits.begin("2001:db8:0:1::1")
    visits.begin("2001:db8:0:1::2")

    with acting_for("2001:db8:0:1::3"), pytest.raises(Full) as refusal:
        bulkhead.enter(until=soon())
    visits.begin(HONEST)
    bulkhead.leave()
    visits.end()

    assert not isinstance(refusal.value, TooLate)
    assert len(visits.served) == 3


def test_single_request_waits_for_one_turn_of_the_storm_of_another_network() -> None:
    bulkhead = Bulkhead(running=1, waiting=32)
    bulkhead.enter(until=soon())
    visits = Visits(bulkhead)
    for _ in range(16):
        visits.begin(STORM)
    bulkhead.leave()
    visits.wait_until_waiting(15)
    visits.begin(HONEST)

    visits.end()

    assert visits.served == [STORM, STORM, HONEST, *[STORM] * 14]


def test_place_that_is_left_while_its_receiver_gives_up_is_not_lost() -> None:
    bulkhead = Bulkhead(running=2, waiting=40)
    inside = most = 0
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def visit(number: int) -> None:
        nonlocal inside, most
        choose = random.Random(number)  # noqa: S311
        for _ in range(40):
            with acting_for(f"192.0.2.{number % 5}" if number % 6 else ""):
                try:
                    bulkhead.enter(until=soon(choose.choice([0.0, 0.001, 0.003, 30.0])))
                except Full as exc:
                    outcomes[type(exc).__name__] += 1
                    continue
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.0002)
            with lock:
                inside -= 1
            bulkhead.leave()
            outcomes["entered"] += 1

    with ThreadPoolExecutor(50) as threads:
        list(threads.map(visit, range(50)))

    assert (most, inside, len(bulkhead._queue), bulkhead._free) == (2, 0, 0, 2)
    assert sum(outcomes.values()) == 2000
    assert min(outcomes["entered"], outcomes["TooLate"]) > 100
