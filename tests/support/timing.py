"""How long a call takes inside this process, and whether two samples of times differ by chance."""

import json
import math
import time
from collections.abc import Callable, Mapping

from flask import Flask
from werkzeug.test import create_environ

from db import Cursor

SAMPLES = 200
CHANCE = 0.001  # a difference that chance makes more rarely is one

Answer = tuple[str, list[tuple[str, str]], bytes]


def timed_post(
    app: Flask, path: str, body: object, headers: Mapping[str, str] | None = None
) -> tuple[Answer, float]:
    """Return the answer of the WSGI application to a JSON body, and the seconds that it took."""
    headers = {"Content-Type": "application/json", **(headers or {})}
    environ = create_environ(path, method="POST", headers=headers, data=json.dumps(body).encode())
    heads: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, sent: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
        heads.append((status, sent))
        return heads.append  # type: ignore[return-value]

    started = time.perf_counter()
    content = b"".join(app(environ, start_response))
    seconds = time.perf_counter() - started
    return (*heads[0], content), seconds


def statement_seconds(app: Flask) -> float:
    def select(cur: Cursor) -> None:
        cur.execute("SELECT 1")

    started = time.perf_counter()
    app.extensions["auth"].database.read(select)
    return time.perf_counter() - started


def p_value(first: list[float], second: list[float]) -> float:
    """Return how often chance alone makes two samples differ so much (Mann-Whitney, two-sided)."""
    n, m = len(first), len(second)
    ranked = sorted([(value, 1) for value in first] + [(value, 0) for value in second])
    rank_sum = sum(rank * is_first for rank, (_, is_first) in enumerate(ranked, start=1))
    u = rank_sum - n * (n + 1) / 2
    deviations = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(deviations) / math.sqrt(2))
