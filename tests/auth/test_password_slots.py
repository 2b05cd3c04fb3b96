"""The bounded queue before bcrypt: how many run at once, how many wait, and `busy` for the rest."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

import auth.passwords
from auth.passwords import WAIT_SECONDS, Busy, PasswordHasher
from tests.support import PASSWORD
from tests.support.actor import Actor
from tests.support.apps import messages
from tests.support.hashing import bcrypt_of


class Held:
    """A PasswordHasher whose runs of bcrypt last until `finish` is set.

    most: how many ran at the same time, at most.
    """

    def __init__(self, patch: pytest.MonkeyPatch, *, running: int, waiting: int) -> None:
        bcrypt = bcrypt_of(4)
        self.begun = threading.Semaphore(0)
        self.finish = threading.Event()
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()
        self._generate = bcrypt.generate_password_hash
        patch.setattr(bcrypt, "generate_password_hash", self._slowly)
        self.passwords = PasswordHasher(bcrypt, rounds=4, running=running, waiting=waiting)
        self.pool = ThreadPoolExecutor(8)

    def _slowly(self, secret: bytes) -> bytes:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        self.begun.release()
        self.finish.wait(10)
        with self._lock:
            self._running -= 1
        hashed: bytes = self._generate(secret)
        return hashed

    def start(self) -> "Future[str]":
        return self.pool.submit(self.passwords.hash, PASSWORD)

    def occupy(self) -> "Future[str]":
        """Start a run, wait until it holds a slot, and return its future."""
        future = self.start()
        assert self.begun.acquire(timeout=10)
        return future


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Held]:
    hasher = Held(monkeypatch, **request.param)
    yield hasher
    hasher.finish.set()
    hasher.pool.shutdown()


def is_busy(call: Callable[[], object]) -> bool:
    """Return whether `call` is refused because all slots are taken."""
    with pytest.raises(Busy):
        call()
    return True


def leave_50_ms_to_wait(patch: pytest.MonkeyPatch) -> None:
    """Shift the clock, so that whoever queues from now on may wait for 50 ms more."""
    late = SimpleNamespace(monotonic=lambda: time.monotonic() - WAIT_SECONDS + 0.05)
    patch.setattr(auth.passwords, "time", late)


@pytest.mark.parametrize(
    ("held", "running"),
    [
        pytest.param({"running": 1, "waiting": 0}, 1, id="1 slot"),
        pytest.param({"running": 3, "waiting": 0}, 3, id="3 slots"),
    ],
    indirect=["held"],
)
def test_queue_that_is_full_is_busy_at_once(held: Held, running: int) -> None:
    futures = [held.occupy() for _ in range(running)]
    started = time.monotonic()

    assert is_busy(lambda: held.passwords.hash(PASSWORD))
    assert is_busy(lambda: held.passwords.verify(PASSWORD, None))

    assert time.monotonic() - started < 1
    held.finish.set()
    assert all(future.result(10) for future in futures)


@pytest.mark.parametrize("held", [{"running": 1, "waiting": 1}], ids=["1 slot, 1 may wait"], indirect=True)
def test_queue_that_is_slow_is_busy_after_the_wait(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_50_ms_to_wait(monkeypatch)
    held.occupy()
    started = time.monotonic()

    assert is_busy(lambda: held.passwords.hash(PASSWORD))

    assert 0.05 <= time.monotonic() - started < 2


@pytest.mark.parametrize("held", [{"running": 1, "waiting": 1}], ids=["1 slot, 1 may wait"], indirect=True)
def test_slot_is_returned_after_a_wait_in_vain(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_50_ms_to_wait(monkeypatch)
    future = held.occupy()
    for _ in range(5):
        assert is_busy(lambda: held.passwords.hash(PASSWORD))
    held.finish.set()
    future.result(10)
    monkeypatch.undo()

    assert held.passwords.verify(PASSWORD, held.passwords.hash(PASSWORD))


@pytest.mark.parametrize("held", [{"running": 2, "waiting": 6}], ids=["2 slots, 6 may wait"], indirect=True)
def test_no_more_runs_than_slots_go_on_at_once(held: Held) -> None:
    futures = [held.occupy(), held.occupy()]
    futures += [held.start() for _ in range(6)]
    held.finish.set()

    assert len({future.result(10) for future in futures}) == 8
    assert held.most == 2


@pytest.mark.parametrize("held", [{"running": 1, "waiting": 4}], ids=["1 slot, 4 may wait"], indirect=True)
def test_caller_that_waits_gets_its_turn(held: Held) -> None:
    first = held.occupy()
    second = held.start()
    held.finish.set()

    assert first.result(10) != second.result(10)


def test_slot_is_returned_after_every_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    bcrypt = bcrypt_of(4)
    passwords = PasswordHasher(bcrypt, rounds=4, running=1, waiting=0)
    stored = passwords.hash(PASSWORD)

    def fail(*_: object) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(bcrypt, "generate_password_hash", fail)
        for _ in range(3):
            with pytest.raises(MemoryError):
                passwords.hash(PASSWORD)
    outcomes = [
        passwords.verify(*call) for call in ((PASSWORD, stored), ("x", stored), ("x", None), ("x", "-"))
    ]

    assert outcomes == [True, False, False, False]
    assert passwords.verify(PASSWORD, passwords.hash(PASSWORD))


def test_refusal_is_logged_for_the_operator(
    client_without_hash_slots: FlaskClient, log_lines: list[dict[str, Any]]
) -> None:
    answer = Actor(client_without_hash_slots).try_log_in()

    assert (answer.status_code, answer.get_json()["code"]) == (503, "busy")
    assert messages(log_lines, "WARNING") == ["hash_slots_busy: too many logins at once"]
