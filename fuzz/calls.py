"""Makes up calls of every operation, good and bad ones, until the time is over.

Each is sent by a stranger, by a user, and twice by one who knows the secrets that it needs. Runs in the
fuzzer's virtual environment. Exits with 1 and the smallest call that it found when an answer is wrong.
"""

import os
import sys
import time
from collections.abc import Callable

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from requests.structures import CaseInsensitiveDict
from schemathesis import Case, GenerationMode

from fuzz import hooks

CASES_AT_A_TIME = 150
SENDERS = ("stranger", "user", "owner", "owner")
SETTINGS = settings(
    max_examples=CASES_AT_A_TIME,
    phases=[Phase.generate, Phase.shrink],
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def main(seconds: float, first_seed: int) -> None:
    contract = schemathesis.openapi.from_url(f"{hooks.URL}/openapi.json")
    kinds = [
        (operation.ok(), mode)
        for operation in contract.get_all_operations()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ]
    deadline = time.monotonic() + seconds
    number = first_seed
    while kinds:
        for kind in list(kinds):
            if time.monotonic() >= deadline:
                return
            number += 1
            if not _round(*kind, number=number, deadline=deadline):
                kinds.remove(kind)


def _round(
    operation: schemathesis.APIOperation, mode: GenerationMode, *, number: int, deadline: float
) -> bool:
    """Send some calls of one operation; False when there is no bad call of it: it takes nothing."""

    @seed(number)
    @SETTINGS
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        headers, body = dict(case.headers), case.body
        for who in SENDERS if time.monotonic() < deadline else ():
            case.headers, case.body = CaseInsensitiveDict(headers), body
            hooks.dress(case, who)
            hooks.require_described(case.call(session=hooks.session, base_url=hooks.URL))

    return _is_satisfiable(send)


def _is_satisfiable(send: Callable[[], None]) -> bool:
    try:
        send()
    except Unsatisfiable:
        return False
    return True


if __name__ == "__main__":
    main(float(sys.argv[1]), int(os.environ["FUZZ_SEED"]) * 1_000_000)
