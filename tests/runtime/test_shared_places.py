"""The places that processes share: how many there are, whose turn it is, and what a killed process leaves."""

import fcntl
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from runtime.bulkhead import Full, TooLate
from runtime.shared_places import SharedPlaces
from tests.support import ROOT
from tests.support.clients import HONEST, STORM, Visits, acting_for, soon


@pytest.fixture
def slot_file() -> Iterator[int]:
    """The descriptor of a file without a name, such as gunicorn's workers inherit."""
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


ENTER = (
    "import sys, time; from runtime.shared_places import SharedPlaces;"
    "SharedPlaces(int(sys.argv[1]), 1, waiting=0).enter(until=time.monotonic() + 5);"
    "print('entered', flush=True); time.sleep(60)"
)


@contextmanager
def another_process_inside(slot_file: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process that inherits `slot_file` and holds its only place."""
    command = [sys.executable, "-c", ENTER, str(slot_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, pass_fds=[slot_file]) as process:
        assert process.stdout
        assert process.stdout.readline() == b"entered\n"
        yield process
        process.kill()


def test_shared_places_are_as_many_as_stated(slot_file: int) -> None:
    places = SharedPlaces(slot_file, 2, waiting=1)
    first = places.enter(until=soon())
    places.enter(until=soon())

    with pytest.raises(TooLate):
        places.enter(until=soon(0.02))

    places.leave(first)
    assert places.enter(until=soon()) == first


def test_shared_place_of_another_process_is_taken(slot_file: int) -> None:
    places = SharedPlaces(slot_file, 2, waiting=0)

    with another_process_inside(slot_file):
        assert places.enter(until=soon()) == 1
        with pytest.raises(TooLate):
            places.enter(until=soon(0.02))


def test_shared_place_of_a_killed_process_is_free_again(slot_file: int) -> None:
    with another_process_inside(slot_file) as holder:
        with pytest.raises(TooLate):
            SharedPlaces(slot_file, 1, waiting=0).enter(until=soon(0.02))

        os.kill(holder.pid, signal.SIGKILL)

    SharedPlaces(slot_file, 1, waiting=0).enter(until=soon())


def test_caller_without_time_to_wait_leaves_the_turn_to_the_process_that_has_it(
    slot_file: int,
) -> None:
    with another_process_inside(slot_file):
        command = [sys.executable, "-c", ENTER, str(slot_file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, pass_fds=[slot_file]) as waiter:
            wait_until_byte_is_locked(slot_file, 1)  # the waiter has the turn
            started = time.monotonic()
            with pytest.raises(TooLate):
                SharedPlaces(slot_file, 1, waiting=0).enter(until=started)
            seconds = time.monotonic() - started
            waiter.kill()

    assert seconds < 0.5


def wait_until_byte_is_locked(descriptor: int, byte: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError:
            return
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_frozen_waiter_keeps_others_no_longer_than_they_are_ready_to_wait(slot_file: int) -> None:
    with another_process_inside(slot_file):
        command = [sys.executable, "-c", ENTER, str(slot_file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, pass_fds=[slot_file]) as waiter:
            wait_until_byte_is_locked(slot_file, 1)
            waiter.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            with pytest.raises(TooLate):
                SharedPlaces(slot_file, 1, waiting=0).enter(until=began + 0.2)
            seconds = time.monotonic() - began
            waiter.kill()

    assert seconds < 2


TAKE_TURNS = (
    "import sys, time; from runtime.shared_places import SharedPlaces;"
    "places = SharedPlaces(int(sys.argv[1]), 1, waiting=0);"
    "print('ready', flush=True); sys.stdin.readline(); entered = 0; until = time.monotonic() + 2\n"
    "while time.monotonic() < until:\n"
    "    place = places.enter(until=until + 5); entered += 1; time.sleep(0.02); places.leave(place)\n"
    "print(entered, flush=True)"
)


@pytest.mark.slow
def test_shared_place_goes_round_among_processes(slot_file: int) -> None:
    command = [sys.executable, "-c", TAKE_TURNS, str(slot_file)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, pass_fds=[slot_file]
                )
            )
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout
            process.stdout.readline()
        turns = [int(process.communicate(b"\n", timeout=30)[0]) for process in started(processes)]

    assert min(turns) > 0.5 * max(turns)


def started(processes: "list[subprocess.Popen[bytes]]") -> "list[subprocess.Popen[bytes]]":
    """Let all processes begin; only then wait for the first."""
    for process in processes:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    return processes


def test_place_goes_to_the_next_in_the_queue_and_not_to_the_leader(slot_file: int) -> None:
    places = SharedPlaces(slot_file, 1, waiting=32)
    place = places.enter(until=soon())
    visits = Visits(places)
    for _ in range(16):
        visits.begin(STORM)
    places.leave(place)
    visits.wait_until_waiting(15)  # one of them is the leader
    visits.begin(HONEST)

    visits.end()

    assert visits.served == [STORM, STORM, HONEST, *[STORM] * 14]


def test_leader_that_gives_up_is_replaced(slot_file: int) -> None:
    places = SharedPlaces(slot_file, 1, waiting=32)
    place = places.enter(until=soon())
    visits = Visits(places)
    visits.begin(STORM, seconds=0.1)
    visits.begin(HONEST)
    time.sleep(0.2)

    places.leave(place)
    visits.end()

    assert visits.served == [HONEST]
    assert places._leader is None


def test_network_may_wait_with_half_of_the_threads_and_one_for_each_place_elsewhere(slot_file: int) -> None:
    places = SharedPlaces(slot_file, 2, waiting=4)
    visits = Visits(places)
    with another_process_inside(slot_file):
        place = places.enter(until=soon())
        for _ in range(3):
            visits.begin(STORM)

        with acting_for(STORM), pytest.raises(Full) as refusal:
            places.enter(until=soon())
        visits.begin(HONEST)
        places.leave(place)
        visits.end()

    assert not isinstance(refusal.value, TooLate)


def test_place_that_is_found_while_its_receiver_gives_up_is_not_lost(slot_file: int) -> None:
    places = SharedPlaces(slot_file, 2, waiting=40)
    inside = most = 0
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def visit(number: int) -> None:
        nonlocal inside, most
        choose = random.Random(number)  # noqa: S311
        for _ in range(4):
            try:
                with acting_for(f"192.0.2.{number % 7}"):
                    place = places.enter(until=soon(choose.choice([0.0, 0.02, 0.1, 30.0])))
            except Full as exc:
                outcomes[type(exc).__name__] += 1
                continue
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.025)
            with lock:
                inside -= 1
            places.leave(place)
            outcomes["entered"] += 1

    with ThreadPoolExecutor(50) as threads:
        list(threads.map(visit, range(50)))

    assert (most, inside, len(places._queue), sorted(places._free)) == (2, 0, 0, [0, 1])
    assert places._leader is None
    assert sum(outcomes.values()) == 200
    assert min(outcomes["entered"], outcomes["TooLate"]) > 20


def test_shared_places_whose_file_cannot_be_locked_let_everybody_in_and_warn(
    log_lines: list[dict[str, Any]],
) -> None:
    with open(os.devnull) as unlockable:  # the kernel refuses a write lock on a file opened for reading
        places = SharedPlaces(unlockable.fileno(), 1, waiting=0)

        places.leave(places.enter(until=soon()))

    assert [line["message"].partition(":")[0] for line in log_lines] == ["hash_slots_not_shared"]


def test_shared_places_whose_file_cannot_be_locked_bound_their_own_process() -> None:
    with open(os.devnull) as unlockable:
        places = SharedPlaces(unlockable.fileno(), 2, waiting=1)
        first, _ = places.enter(until=soon()), places.enter(until=soon())

        with pytest.raises(TooLate):
            places.enter(until=soon(0.02))

        places.leave(first)
        assert places.enter(until=soon()) == first
