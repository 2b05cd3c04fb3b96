"""Hashing and verifying passwords: forms, lengths, equal work and the bounded queue."""

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import bcrypt as library
import pytest
from flask import Flask
from flask_bcrypt import Bcrypt

import auth.passwords
from auth.errors import ApiError
from auth.fields import normalise
from auth.passwords import WAIT_SECONDS, PasswordHasher
from auth.stored_hashes import bcrypt_input

PASSWORD = "correct horse"
DAMAGED = [
    pytest.param("", id="empty"),
    pytest.param("x", id="one character"),
    pytest.param(PASSWORD, id="plain text"),
    pytest.param("5f4dcc3b5aa765d61d8327deb882cf99", id="MD5"),
    pytest.param("$2b$04$tooshort", id="cut off"),
    pytest.param("\u00e9" * 60, id="not ASCII"),
    pytest.param("$2b$04$" + "!" * 53, id="no base64 in the salt"),
    pytest.param("$2b$06$" + "!" * 53, id="no base64 in the salt, current cost"),
    pytest.param("$9x$06$" + "." * 53, id="unknown scheme"),
    pytest.param("$2b$03$" + "." * 53, id="cost too low for bcrypt"),
    pytest.param("$2b$99$" + "." * 53, id="cost too high for bcrypt"),
    pytest.param("$2b$xx$" + "." * 53, id="cost that is no number"),
    pytest.param("$2b$04$" + "." * 21 + "A" + "." * 31, id="salt of too many bits"),
    pytest.param("bcrypt_sha256$", id="prefix alone"),
    pytest.param("{SHA512-CRYPT}$2b$04$" + "." * 53, id="unknown prefix"),
    pytest.param("$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$" + "a" * 17, id="Argon2"),
]


def bcrypt_of(rounds: int) -> Any:
    app = Flask(__name__)
    app.config["BCRYPT_LOG_ROUNDS"] = rounds
    return Bcrypt(app)


def passwords_of(rounds: int = 4, running: int = 1, waiting: int = 16) -> PasswordHasher:
    return PasswordHasher(bcrypt_of(rounds), rounds=rounds, running=running, waiting=waiting)


def hash_of(password: str, rounds: int) -> str:
    return passwords_of(rounds).hash(password)


@pytest.fixture
def passwords() -> PasswordHasher:
    return passwords_of()


class Work:
    """A PasswordHasher at cost 6, and how much work bcrypt did for it: 2 to the power of the cost, summed up."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        bcrypt = bcrypt_of(6)
        self.done = 0
        self._check = bcrypt.check_password_hash
        patch.setattr(bcrypt, "check_password_hash", self._counted)
        self.passwords = PasswordHasher(bcrypt, rounds=6, running=1, waiting=0)

    def _counted(self, stored: str, secret: bytes) -> bool:
        matches = bool(self._check(stored, secret))  # raises, and does nothing, on a damaged hash
        self.done += 2 ** int(stored[4:6])
        return matches


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


def test_hash_is_bcrypt_at_the_cost(passwords: PasswordHasher) -> None:
    hashed = passwords.hash(PASSWORD)

    assert hashed.startswith("$2b$04$")
    assert len(hashed) == 60


def test_hash_of_a_short_password_is_plain_bcrypt(passwords: PasswordHasher) -> None:
    for password in (PASSWORD, "x" * 71, "\u00e9" * 35):
        assert library.checkpw(password.encode(), passwords.hash(password).encode())


def test_hash_is_salted(passwords: PasswordHasher) -> None:
    assert passwords.hash(PASSWORD) != passwords.hash(PASSWORD)


def test_verify_takes_an_existing_hash() -> None:
    # Made by bcrypt itself, as an earlier version did.
    stored = library.hashpw(PASSWORD.encode(), library.gensalt(4)).decode()

    for prefix in ("$2b$", "$2a$", "$2y$"):
        assert passwords_of().verify(PASSWORD, prefix + stored[4:])


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("x" * 71, id="71 bytes"),
        pytest.param("x" * 72, id="72 bytes"),
        pytest.param("x" * 73, id="73 bytes"),
        pytest.param("x" * 256, id="256 bytes"),
        pytest.param("\U0001f512" * 256, id="1024 bytes"),
        pytest.param("x" * 1023, id="1023 bytes"),
    ],
)
def test_verify_reads_the_whole_password(passwords: PasswordHasher, password: str) -> None:
    stored = passwords.hash(password)

    assert passwords.verify(password, stored)
    assert not passwords.verify(password[:-1], stored)
    assert not passwords.verify(password + "x", stored)
    assert not passwords.verify(password[:-1] + "y", stored)
    assert not passwords.verify("y" + password[1:], stored)


def test_hash_of_a_long_password_is_that_of_its_labelled_digest(passwords: PasswordHasher) -> None:
    # base64(HMAC-SHA-384("user-service long password v1", 73 times "x")), from OpenSSL.
    digest = b"f2+69wbAHokHz8mxNU1vwjPqd6VLtb74aD3erYi+APVTKDZpvrYaiBdGRveiwFOX"

    assert library.checkpw(digest, passwords.hash("x" * 73).encode())


def test_normalise_composes() -> None:
    assert normalise("e\u0301") == "\u00e9"
    assert normalise("\u212b") == "\u00c5"
    assert normalise("\ufb01") == "\ufb01"


def test_verify_takes_every_form_of_the_same_text(passwords: PasswordHasher) -> None:
    assert passwords.verify("cafe\u0301 au lait", passwords.hash("caf\u00e9 au lait"))
    assert passwords.verify("caf\u00e9 au lait", passwords.hash("cafe\u0301 au lait"))


def test_verify_tells_case_and_space_apart(passwords: PasswordHasher) -> None:
    stored = passwords.hash(PASSWORD)

    for other in (PASSWORD.upper(), f" {PASSWORD}", f"{PASSWORD} ", ""):
        assert not passwords.verify(other, stored)


@pytest.mark.parametrize("stored", [None, *DAMAGED])
def test_verify_without_a_usable_hash_is_false(passwords: PasswordHasher, stored: str | None) -> None:
    assert passwords.verify(PASSWORD, stored) is False


@pytest.mark.parametrize("stored", DAMAGED)
def test_damaged_hash_is_logged_but_not_shown(
    passwords: PasswordHasher, stored: str, log_lines: list[dict[str, Any]]
) -> None:
    passwords.verify("something else", stored)

    assert [line["level"] for line in log_lines] == ["ERROR"]
    assert log_lines[0]["message"].startswith("stored_hash_damaged")
    assert len(stored) < 5 or stored not in str(log_lines)


def test_wrong_password_logs_nothing_of_a_damaged_hash(
    passwords: PasswordHasher, log_lines: list[dict[str, Any]]
) -> None:
    passwords.verify("wrong", passwords.hash(PASSWORD))

    assert log_lines == []


def test_right_password_takes_one_run(work: Work) -> None:
    assert work.passwords.verify(PASSWORD, hash_of(PASSWORD, 6))

    assert work.done == 2**6


@pytest.mark.parametrize("rounds", [4, 5, 6])
def test_wrong_password_takes_the_work_of_the_current_cost(work: Work, rounds: int) -> None:
    assert not work.passwords.verify("wrong", hash_of(PASSWORD, rounds))

    assert work.done == 2**6


def test_unknown_user_takes_the_work_of_the_current_cost(work: Work) -> None:
    assert not work.passwords.verify(PASSWORD, None)

    assert work.done == 2**6


@pytest.mark.parametrize("stored", DAMAGED)
def test_damaged_hash_takes_the_work_of_the_current_cost(work: Work, stored: str) -> None:
    assert not work.passwords.verify(PASSWORD, stored)

    assert work.done == 2**6


@pytest.mark.parametrize(
    ("password", "runs"),
    [
        pytest.param("x" * 71, 1, id="71 bytes"),
        pytest.param("x" * 72, 2, id="72 bytes"),
        pytest.param("caf\u00e9 au lait", 1, id="NFC"),
        pytest.param("cafe\u0301 au lait", 2, id="not NFC"),
        pytest.param("x" * 73, 2, id="73 bytes"),
        pytest.param("\U0001f512" * 256, 2, id="1024 bytes"),
        pytest.param("e\u0301" * 200, 3, id="long and not NFC"),
        pytest.param("x" * 1025, 1, id="longer than any password"),
        pytest.param("a" + "\u0301\u0327" * 15_000, 1, id="much longer than any password"),
    ],
)
def test_every_refusal_takes_the_same_work(work: Work, password: str, runs: int) -> None:
    hashes = [None, "damaged", *(hash_of(PASSWORD, rounds) for rounds in (4, 5, 6))]
    hashes += [f"bcrypt_sha256${hash_of(PASSWORD, rounds)}" for rounds in (5, 6)]
    hashes += [f"{{BLF-CRYPT}}{hash_of(PASSWORD, 4)}\r\n"]

    spent = []
    for stored in hashes:
        work.done = 0
        assert not work.passwords.verify(password, stored)
        spent.append(work.done)

    assert spent == [runs * 2**6] * len(hashes)


def test_stored_hash_of_more_rounds_takes_its_own_work(work: Work) -> None:
    assert not work.passwords.verify("wrong", hash_of(PASSWORD, 7))

    assert work.done == 2**7


@pytest.mark.parametrize("password", [PASSWORD, "x" * 73, "cafe\u0301 au lait"])
def test_rehash_of_a_weaker_hash_is_one_of_the_current_cost(password: str) -> None:
    passwords = passwords_of(5)

    stronger = passwords.rehash(password, hash_of(password, 4))

    assert stronger is not None
    assert stronger.startswith("$2b$05$")
    assert passwords.verify(password, stronger)


def sha256_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).hexdigest().encode()


OLDER = [
    pytest.param("cafe\u0301 au lait", "{}", "cafe\u0301 au lait".encode(), id="not NFC"),
    pytest.param("e\u0301" * 23, "{}", ("e\u0301" * 23).encode(), id="69 bytes, not NFC"),
    pytest.param(PASSWORD, "bcrypt${}", PASSWORD.encode(), id="Django bcrypt"),
    pytest.param(PASSWORD, "bcrypt_sha256${}", sha256_of(PASSWORD), id="Django SHA-256"),
    pytest.param("x" * 200, "bcrypt_sha256${}", sha256_of("x" * 200), id="Django SHA-256, long"),
    pytest.param("e\u0301" * 99, "bcrypt_sha256${}", sha256_of("e\u0301" * 99), id="Django SHA-256, not NFC"),
    pytest.param(PASSWORD, "{{BLF-CRYPT}}{}", PASSWORD.encode(), id="Dovecot"),
    pytest.param(PASSWORD, "{}\r\n", PASSWORD.encode(), id="line end"),
    pytest.param(PASSWORD, "{}    ", PASSWORD.encode(), id="blanks"),
]


def stored_as(wrapped: str, secret: bytes, rounds: int = 4) -> str:
    return wrapped.format(library.hashpw(secret, library.gensalt(rounds)).decode())


@pytest.mark.parametrize(("password", "wrapped", "secret"), OLDER)
def test_hash_of_an_older_form_is_verified_and_replaced_by_todays(
    passwords: PasswordHasher, password: str, wrapped: str, secret: bytes
) -> None:
    stored = stored_as(wrapped, secret)

    assert passwords.verify(password, stored)
    assert not passwords.verify(password + "x", stored)
    replaced = passwords.rehash(password, stored)

    assert replaced is not None
    assert library.checkpw(bcrypt_input(password), replaced.encode())
    assert passwords.rehash(password, replaced) is None


@pytest.mark.parametrize("prefix", ["$2a$", "$2y$"])
def test_hash_of_an_older_bcrypt_is_replaced(passwords: PasswordHasher, prefix: str) -> None:
    replaced = passwords.rehash(PASSWORD, prefix + hash_of(PASSWORD, 4)[4:])

    assert replaced is not None
    assert replaced.startswith("$2b$04$")


LONG = "x" * 70 + "\u00e9" * 20
CUT_OFF = [
    pytest.param(LONG, LONG.encode()[:72], id="between characters"),
    pytest.param("x" * 71 + "\u00e9", ("x" * 71 + "\u00e9").encode()[:72], id="within a character"),
    pytest.param("e\u0301" * 25, ("e\u0301" * 25).encode()[:72], id="not NFC"),
    pytest.param("x" * 72, b"x" * 72, id="72 bytes, which may be all"),
    pytest.param("e\u0301" * 24, ("e\u0301" * 24).encode(), id="72 bytes, not NFC"),
    pytest.param("e\u0301" * 99, ("\u00e9" * 99).encode()[:72], id="cut off in NFC"),
]


@pytest.mark.parametrize(("password", "secret"), CUT_OFF)
def test_hash_that_an_older_bcrypt_cut_off_is_verified(
    passwords: PasswordHasher, password: str, secret: bytes
) -> None:
    stored = stored_as("{}", secret)

    assert passwords.verify(password, stored)
    assert not passwords.verify("y" + password[1:], stored)


@pytest.mark.parametrize(("password", "secret"), CUT_OFF)
@pytest.mark.parametrize("wrapped", ["{}", "bcrypt${}", "{}\n"])
def test_hash_that_was_cut_off_is_strengthened_but_keeps_to_its_bytes(
    password: str, secret: bytes, wrapped: str
) -> None:
    passwords = passwords_of(5)

    stronger = passwords.rehash(password, stored_as(wrapped, secret))

    assert stronger is not None
    assert stronger.startswith("$2b$05$")
    assert library.checkpw(secret, stronger.encode())
    assert passwords.rehash(password, stronger) is None


def test_typing_mistake_behind_72_bytes_locks_nobody_out(passwords: PasswordHasher) -> None:
    owner = "x" * 72
    stored = stored_as("{}", owner.encode())

    assert passwords.verify(owner + " oops", stored)
    after = passwords_of(5).rehash(owner + " oops", stored)

    assert after is not None
    assert passwords.verify(owner, after)


def test_rehash_with_another_password_is_none(passwords: PasswordHasher) -> None:
    assert passwords.rehash("wrong", "bcrypt$" + hash_of(PASSWORD, 4)) is None


def test_rehash_never_weakens() -> None:
    assert passwords_of(4).rehash(PASSWORD, "bcrypt$" + hash_of(PASSWORD, 5)) is None


@pytest.mark.parametrize("rounds", [5, 6])
def test_rehash_of_a_strong_hash_is_none(rounds: int) -> None:
    assert passwords_of(5).rehash(PASSWORD, hash_of(PASSWORD, rounds)) is None


def test_rehash_without_a_free_slot_is_none_at_once() -> None:
    started = time.monotonic()

    assert passwords_of(5, running=0, waiting=1).rehash(PASSWORD, hash_of(PASSWORD, 4)) is None
    assert time.monotonic() - started < 1


class Held:
    """A PasswordHasher whose bcrypt runs last until `finish` is set, and how many of them go on."""

    def __init__(self, patch: pytest.MonkeyPatch, *, running: int, waiting: int) -> None:
        bcrypt = bcrypt_of(4)
        self.begun = threading.Semaphore(0)
        self.finish = threading.Event()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._generate = bcrypt.generate_password_hash
        patch.setattr(bcrypt, "generate_password_hash", self._slowly)
        self.passwords = PasswordHasher(bcrypt, rounds=4, running=running, waiting=waiting)
        self.pool = ThreadPoolExecutor(8)

    def _slowly(self, secret: bytes) -> bytes:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self.begun.release()
        self.finish.wait(10)
        with self._lock:
            self._now -= 1
        hashed: bytes = self._generate(secret)
        return hashed

    def start(self) -> "Future[str]":
        return self.pool.submit(self.passwords.hash, PASSWORD)

    def occupy(self) -> "Future[str]":
        """Start a run and return once it goes on."""
        future = self.start()
        assert self.begun.acquire(timeout=10)
        return future


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Held]:
    made = Held(monkeypatch, **request.param)
    yield made
    made.finish.set()
    made.pool.shutdown()


def busy(call: Any) -> bool:
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value.code == "busy"


def almost_over(patch: pytest.MonkeyPatch) -> None:
    """Let everybody who queues from now on have waited all but 50 ms of what they may."""
    late = SimpleNamespace(monotonic=lambda: time.monotonic() - WAIT_SECONDS + 0.05)
    patch.setattr(auth.passwords, "time", late)


@pytest.mark.parametrize("held", [{"running": 1, "waiting": 0}, {"running": 3, "waiting": 0}], indirect=True)
def test_queue_that_is_full_is_busy_at_once(held: Held, request: pytest.FixtureRequest) -> None:
    running = request.node.callspec.params["held"]["running"]
    futures = [held.occupy() for _ in range(running)]
    started = time.monotonic()

    assert busy(lambda: held.passwords.hash(PASSWORD))
    assert busy(lambda: held.passwords.verify(PASSWORD, None))

    assert time.monotonic() - started < 1
    held.finish.set()
    assert all(future.result(10) for future in futures)


@pytest.mark.parametrize("held", [{"running": 1, "waiting": 1}], indirect=True)
def test_queue_that_is_slow_is_busy_after_the_wait(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    almost_over(monkeypatch)
    held.occupy()
    started = time.monotonic()

    assert busy(lambda: held.passwords.hash(PASSWORD))

    assert 0.05 <= time.monotonic() - started < 2


@pytest.mark.parametrize("held", [{"running": 1, "waiting": 1}], indirect=True)
def test_slot_is_returned_after_a_wait_in_vain(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    almost_over(monkeypatch)
    future = held.occupy()
    for _ in range(5):
        assert busy(lambda: held.passwords.hash(PASSWORD))
    held.finish.set()
    future.result(10)
    monkeypatch.undo()

    assert held.passwords.verify(PASSWORD, held.passwords.hash(PASSWORD))


@pytest.mark.parametrize("held", [{"running": 2, "waiting": 6}], indirect=True)
def test_no_more_runs_than_slots_go_on_at_once(held: Held) -> None:
    futures = [held.occupy(), held.occupy()]
    futures += [held.start() for _ in range(6)]
    held.finish.set()

    assert len({future.result(10) for future in futures}) == 8
    assert held.most == 2


@pytest.mark.parametrize("held", [{"running": 1, "waiting": 4}], indirect=True)
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


def test_refusal_is_logged_for_the_operator() -> None:
    with pytest.raises(ApiError) as caught:
        passwords_of(running=0, waiting=0).hash(PASSWORD)

    assert caught.value.log_message.startswith("hash_slots_busy")
