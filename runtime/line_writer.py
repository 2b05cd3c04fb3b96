"""Lines to stdout. A reader of stdout that stalls must not stop the service."""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count

STDOUT = 1
MAX_WAITING_LINES = 2000  # about half a megabyte
GATHER_SECONDS = 0.02
STALL_MILLISECONDS = 1000
MAX_PIECE_BYTES = 4096  # PIPE_BUF: a pipe takes this much at once, so that other processes cut no line of it


def write_now(line: str) -> None:
    """Write a line. The line is dropped if the reader of stdout has stalled for STALL_MILLISECONDS."""
    poller = select.poll()
    poller.register(STDOUT, select.POLLOUT)
    if poller.poll(STALL_MILLISECONDS):
        _write(f"{line}\n".encode())


def _write(piece: bytes) -> None:
    with suppress(OSError):  # the reader is gone; the service goes on without one
        os.write(STDOUT, piece)


class LineWriter:
    """Writes lines in a thread of its own.

    At most MAX_WAITING_LINES wait. Further lines are dropped; report_dropped is called with their number.
    """

    def __init__(self, report_dropped: Callable[[int], None]) -> None:
        self._report_dropped = report_dropped
        self._lines: deque[str] = deque()
        self._drops = count(1)  # several threads count: next() is atomic, += is not
        self._dropped = self._reported = 0
        self._has_lines = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line; return at once."""
        if len(self._lines) >= MAX_WAITING_LINES:
            self._dropped = next(self._drops)
            return
        self._lines.append(line)
        if not self._has_lines.is_set():
            self._has_lines.set()

    def end(self) -> None:
        """Write the lines that still wait, and end the thread. A reader that stalls loses them."""
        self._ended = True
        self._has_lines.set()
        self._thread.join(timeout=STALL_MILLISECONDS / 1000)

    def _run(self) -> None:
        while not self._ended or self._lines:
            self._has_lines.wait()
            time.sleep(GATHER_SECONDS)  # lines that come shortly after each other are written together
            self._has_lines.clear()
            while self._lines:
                _write(self._next_piece())
            # Race: two threads may store _dropped in either order, so the difference may be negative.
            if (dropped := self._dropped - self._reported) > 0:
                self._reported += dropped
                self._report_dropped(dropped)

    def _next_piece(self) -> bytes:
        piece = f"{self._lines.popleft()}\n".encode()
        while self._lines and len(piece) + len(self._lines[0]) < MAX_PIECE_BYTES:
            piece += f"{self._lines.popleft()}\n".encode()
        return piece
