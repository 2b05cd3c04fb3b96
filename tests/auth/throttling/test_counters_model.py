"""The budgets in PostgreSQL decide as token buckets do, whatever happens in what order."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from auth.throttling import counters
from auth.throttling.counters import Charge
from db import Cursor, Database
from runtime.settings import Rate
from tests.support.budgets import (
    Bucket,
    a_charge,
    examples,
    is_charged,
    refused,
    settle,
)
from tests.support.throttling import ELAPSE

TICK_SECONDS = 10  # far more than an example takes
CHARGES = [
    a_charge("a", Rate(3, "7m")),
    a_charge("b", Rate(7, "10h"), max_failures=4),
    a_charge("c", Rate(1, "1h"), max_failures=1),
    a_charge("d", Rate(50, "1d"), max_failures=6),
]


def elapse(cur: Cursor, seconds: float) -> None:
    cur.execute(ELAPSE, (seconds,))


@dataclass
class Model:
    """A budget without SQL: a token bucket with a count of failures."""

    charge: Charge
    failures: int = 0
    bucket: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.charge.rate)

    def is_locked(self) -> bool:
        return 0 < self.charge.max_failures <= self.failures

    def take(self) -> None:
        self.bucket.take()
        self.failures += 1


steps = st.tuples(
    st.sampled_from(["charge", "charge", "charge", "fill", "unlock"]),
    st.sampled_from([0, 0, 1, 13, 14, 15, 42, 360, 515]),  # ticks that pass before
    st.lists(st.sampled_from(CHARGES), min_size=1, max_size=4, unique=True),
)


@examples
@given(sequence=st.lists(steps, min_size=1, max_size=15))
def test_charges_are_decided_as_by_token_buckets(
    database: Database, sequence: list[tuple[str, int, list[Charge]]]
) -> None:
    database.write(counters.forget, "")
    models = {each.key: Model(each) for each in CHARGES}
    now = 0
    for action, ticks, charges in sequence:
        names = [each.key for each in charges]
        chosen = [models[name] for name in sorted(names)]
        now += ticks * TICK_SECONDS * 1_000_000
        database.write(elapse, ticks * TICK_SECONDS)
        if action == "fill":
            settle(database, fill=names)
            models |= {name: Model(models[name].charge) for name in names}
        elif action == "unlock":
            settle(database, unlock=names)
            for model in chosen:
                model.failures = 0
        else:
            expected = [(model.is_locked(), model.bucket.seconds_to_wait(now)) for model in chosen]
            if all(outcome == (False, 0) for outcome in expected):
                assert is_charged(database, *charges)
                for model in chosen:
                    model.take()
                continue
            balances = {each.charge.key: each for each in refused(database, *charges)}
            outcomes = [balances.get(model.charge.key) for model in chosen]
            assert [
                (each.is_locked, each.seconds_to_wait()) if each else (False, 0) for each in outcomes
            ] == expected
