"""Lines to stdout, where a reader that stalls must not stop who writes them."""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count

MOST_LINES = 2000  # that wait for the reader: about half a megabyte
GATHER_SECONDS = 0.02
STALL_MILLISECONDS = 1000
PIECE_BYTES = 4096  # PIPE_BUF: what a pipe takes in one piece, so that no other process cuts a line of it


def write_now(line: str) -> None:
    """Write a line, or drop it when nobody has read for STALL_MILLISECONDS."""
    poller = select.poll()
    poller.register(1, select.POLLOUT)
    if poller.poll(STALL_MILLISECONDS):
        _write(f"{line}\n".encode())


def _write(piece: bytes) -> None:
    with suppress(OSError):  # nobody reads any more; the service goes on
        os.write(1, piece)


class LineWriter:
    """Writes lines in a thread of its own. Beyond MOST_LINES that wait, lines are dropped, and counted."""

    def __init__(self, tell_dropped: Callable[[int], None]) -> None:
        self._tell_dropped = tell_dropped
        self._lines: deque[str] = deque()
        self._drops = count(1)  # next() is atomic, adding is not
        self._dropped = self._told = 0
        self._some = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Have a line written; never waits."""
        if len(self._lines) >= MOST_LINES:
            self._dropped = next(self._drops)
            return
        self._lines.append(line)
        if not self._some.is_set():
            self._some.set()

    def end(self) -> None:
        """Write what is left, unless the reader stalls."""
        self._ended = True
        self._some.set()
        self._thread.join(timeout=STALL_MILLISECONDS / 1000)

    def _run(self) -> None:
        while not self._ended or self._lines:
            self._some.wait()
            time.sleep(GATHER_SECONDS)  # what comes together is written together
            self._some.clear()
            while self._lines:
                _write(self._next_piece())
            if (dropped := self._dropped - self._told) > 0:  # two threads may store it in either order
                self._told += dropped
                self._tell_dropped(dropped)

    def _next_piece(self) -> bytes:
        piece = f"{self._lines.popleft()}\n".encode()
        while self._lines and len(piece) + len(self._lines[0]) < PIECE_BYTES:
            piece += f"{self._lines.popleft()}\n".encode()
        return piece
