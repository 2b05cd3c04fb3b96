"""Two replicas of the service on one database, of which one may have a clock that is fast."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import SECRET_KEY, service

# Python runs a sitecustomize before everything else. `datetime` is a class in C that does not ask time.time.
FAST_CLOCK = """
import datetime
import time

time_now, time_now_ns, Datetime = time.time, time.time_ns, datetime.datetime


class AnyDatetime(type):
    def __instancecheck__(cls, value):
        return isinstance(value, Datetime)


class FastDatetime(Datetime, metaclass=AnyDatetime):
    @classmethod
    def now(cls, tz=None):
        return Datetime.now(tz) + datetime.timedelta(seconds=SECONDS)


time.time = lambda: time_now() + SECONDS
time.time_ns = lambda: time_now_ns() + SECONDS * 1_000_000_000
datetime.datetime = FastDatetime
"""


@contextmanager
def running(
    folder: Path, database_url: str, *, seconds_fast: int = 0, **environ: str
) -> Iterator[tuple[service.Service, service.Service]]:
    """Serve with two replicas of two workers until the block ends; no exception may stand in the logs then.

    seconds_fast: how much later it is by the clock of the second replica.
    """
    common = {"DB_URL": database_url, "SECRET_KEY": SECRET_KEY, "BCRYPT_ROUNDS": "4"} | environ
    fast = {}
    if seconds_fast:
        (folder / "sitecustomize.py").write_text(f"SECONDS = {seconds_fast}\n{FAST_CLOCK}")
        fast["PYTHONPATH"] = str(folder)
    with (
        service.running(folder / "first", **common) as first,
        service.running(folder / "second", **common, **fast) as second,
    ):
        yield first, second
    for replica in (first, second):
        assert '"exception"' not in replica.log.read_text()
