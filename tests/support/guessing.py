"""Guesses passwords as fast as a service answers, from many addresses, in a process of its own.

The process is no part of what is measured. It writes the requests by hand: a client library would take longer
than the service. Each connection guesses again as soon as it is answered, each time under the next address in
X-Forwarded-For.
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

from tests.support import ROOT

READY = "ready\n"
LAST_ANSWER_SECONDS = 5.0  # for guesses that were sent before the end: they change budgets afterwards


class Guessing:
    """A running process of guesses."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._answers: Counter[int] = Counter()

    def answers(self) -> Counter[int]:
        """Wait for the end, and return how many answers had which status; 0 stands for no answer."""
        if not self._answers:
            output, _ = self._process.communicate()
            self._answers = Counter({int(status): count for status, count in json.loads(output).items()})
        return self._answers


@contextmanager
def guessing(
    port: int, username: str, *, seconds: float, addresses: int = 50, connections: int = 32
) -> Iterator[Guessing]:
    """Guess for `seconds`, or until the block ends. The last answers are awaited for LAST_ANSWER_SECONDS.

    connections: the default is the number that may wait for PostgreSQL in one worker, so that a service
    whose connections are all with one worker still has room for others.
    """
    arguments = [str(port), username, str(seconds), str(addresses), str(connections)]
    command = [sys.executable, str(Path(__file__)), *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == READY
        yield Guessing(process)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def address(number: int) -> str:
    """Return an address of TEST-NET-3, in which no client of the service lives. number: below 256."""
    return f"203.0.113.{number}"


def login_request(username: str, ip: str) -> bytes:
    """Return a login with a wrong password, as a client at `ip` sends it through a proxy."""
    body = json.dumps({"username": username, "password": "a wrong guess"})
    head = (
        f"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {ip}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return f"{head}{body}".encode()


def _tell(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


async def _guess_for(port: int, username: str, seconds: float, addresses: int, connections: int) -> None:
    requests = [login_request(username, address(number)) for number in range(addresses)]
    _tell(READY)
    ends_at = asyncio.get_running_loop().time() + seconds
    guessers = (
        _guess_until(ends_at, port, cycle(requests[first:] + requests[:first]))
        for first in range(connections)
    )
    answers: Counter[int] = sum(await asyncio.gather(*guessers), Counter())
    _tell(json.dumps(answers))


async def _guess_until(ends_at: float, port: int, requests: Iterator[bytes]) -> Counter[int]:
    """Guess on one connection, and on another one after it has ended."""
    answers: Counter[int] = Counter()
    while (left := ends_at - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.wait_for(_guess(ends_at, port, requests, answers), left + LAST_ANSWER_SECONDS)
        except asyncio.TimeoutError:
            answers[0] += 1
            break
        except (OSError, asyncio.IncompleteReadError):
            answers[0] += 1
            await asyncio.sleep(0.05)
    return answers


async def _guess(ends_at: float, port: int, requests: Iterator[bytes], answers: Counter[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while asyncio.get_running_loop().time() < ends_at:
            writer.write(next(requests))
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            answers[int(head[9:12])] += 1
    finally:
        writer.close()


if __name__ == "__main__":
    port, username, seconds, addresses, connections = sys.argv[1:]
    asyncio.run(_guess_for(int(port), username, float(seconds), int(addresses), int(connections)))
