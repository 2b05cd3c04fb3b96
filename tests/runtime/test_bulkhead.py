"""The bulkhead: how many threads are inside at once, how many wait, for how long and in which order."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from runtime.bulkhead import Bulkhead, Full, SharedPlaces, TooLate
from tests.support import ROOT


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


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
        while len(bulkhead._turns) < number + 1:
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


@pytest.fixture
def slot_file() -> Iterator[int]:
    """The descriptor of a file without a name, such as gunicorn's workers inherit."""
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


ENTER = (
    "import sys, time; from runtime.bulkhead import SharedPlaces;"
    "SharedPlaces(int(sys.argv[1]), 1).enter(until=time.monotonic() + 5);"
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
    places = SharedPlaces(slot_file, 2)
    first = places.enter(until=soon())
    places.enter(until=soon())

    with pytest.raises(TooLate):
        places.enter(until=soon(0.02))

    places.leave(first)
    assert places.enter(until=soon()) == first


def test_shared_place_of_another_process_is_taken(slot_file: int) -> None:
    places = SharedPlaces(slot_file, 2)

    with another_process_inside(slot_file):
        assert places.enter(until=soon()) == 1
        with pytest.raises(TooLate):
            places.enter(until=soon(0.02))


def test_shared_place_of_a_killed_process_is_free_again(slot_file: int) -> None:
    with another_process_inside(slot_file) as holder:
        with pytest.raises(TooLate):
            SharedPlaces(slot_file, 1).enter(until=soon(0.02))

        os.kill(holder.pid, signal.SIGKILL)

    SharedPlaces(slot_file, 1).enter(until=soon())


def test_caller_without_time_to_wait_leaves_the_turn_to_the_process_that_has_it(
    slot_file: int,
) -> None:
    with another_process_inside(slot_file):
        command = [sys.executable, "-c", ENTER, str(slot_file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, pass_fds=[slot_file]) as waiter:
            wait_until_byte_is_locked(slot_file, 1)  # the waiter has the turn
            started = time.monotonic()
            with pytest.raises(TooLate):
                SharedPlaces(slot_file, 1).enter(until=started)
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
                SharedPlaces(slot_file, 1).enter(until=began + 0.2)
            seconds = time.monotonic() - began
            waiter.kill()

    assert seconds < 2


TAKE_TURNS = (
    "import sys, time; from runtime.bulkhead import SharedPlaces; places = SharedPlaces(int(sys.argv[1]), 1);"
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


def test_shared_places_whose_file_cannot_be_locked_let_everybody_in_and_warn(
    log_lines: list[dict[str, Any]],
) -> None:
    with open(os.devnull) as unlockable:  # the kernel refuses a write lock on a file opened for reading
        places = SharedPlaces(unlockable.fileno(), 1)

        places.leave(places.enter(until=soon()))

    assert log_lines[-1]["message"].startswith("hash_slots_not_shared: ")
