"""Equal work: response time must not reveal which users exist, nor how old a hash is (timing attack)."""

import pytest

from auth.passwords import PasswordHasher
from tests.support import PASSWORD
from tests.support.hashing import DAMAGED, bcrypt_of, hash_of


class Work:
    """A PasswordHasher at cost 6 that counts its work.

    done: the sum of 2**cost over all runs of bcrypt.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        bcrypt = bcrypt_of(6)
        self.done = 0
        self._check = bcrypt.check_password_hash
        patch.setattr(bcrypt, "check_password_hash", self._counted)
        self.passwords = PasswordHasher(bcrypt, rounds=6, running=1, waiting=0)

    def _counted(self, stored: str, secret: bytes) -> bool:
        matches = bool(self._check(stored, secret))  # raises on a damaged hash, before any work
        self.done += 2 ** int(stored[4:6])
        return matches


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


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
