"""The pool of connections to PostgreSQL."""

import os
import time
import weakref
from collections import deque
from collections.abc import Callable

from runtime import deadline
from runtime.bulkhead import Bulkhead, Full, TooLate
from runtime.connection import Connection
from runtime.faults import DatabaseUnavailable

RENEW_SECONDS = 2.0


class PoolExhausted(DatabaseUnavailable):
    """Every pooled connection stayed in use for as long as a request may wait."""


class PoolFull(PoolExhausted):
    """The greatest allowed number of threads waits for a pooled connection already."""


class Pool:
    """At most `size` connections. The pool opens them when they are needed and keeps them.

    The connection that was used last goes out first, so that connections which only a burst needed grow old.
    """

    def __init__(
        self, connect: Callable[[], Connection], *, size: int, max_waiters: int, wait_seconds: float
    ) -> None:
        self._connect = connect
        self._size = size
        self._max_waiters = max_waiters
        self._wait_seconds = wait_seconds
        self._generation = 0
        self._renew_at = 0.0
        self._reset()
        # Two processes that share a connection mix up their answers, so a forked child starts without any.
        # psycopg2 leaves a connection of another process open when its object goes, so the child may just
        # drop the objects.
        reset = weakref.WeakMethod(self._reset)
        os.register_at_fork(after_in_child=lambda: (method := reset()) and method())

    def _reset(self) -> None:
        self._idle: deque[Connection] = deque()  # on the left the one that has been idle longest
        self._slots = Bulkhead(running=self._size, waiting=self._max_waiters)

    def take(self) -> Connection:
        """Return a connection that is alive. The caller must give it back.

        Raises PoolFull at once, or PoolExhausted after the wait.
        """
        try:
            self._slots.enter(until=min(time.monotonic() + self._wait_seconds, deadline.at()))
        except TooLate:
            raise PoolExhausted("every pooled connection stayed in use") from None
        except Full:
            raise PoolFull("too many threads wait for a pooled connection") from None
        try:
            return self._take_idle() or self._open()
        except BaseException:
            self._slots.leave()
            raise

    def give_back(self, conn: Connection) -> None:
        """Keep a connection for the next caller. Close it if it is old, broken or inside a transaction."""
        if conn.is_idle() and conn.generation == self._generation:
            conn.idle_since = time.monotonic()
            self._idle.append(conn)
        else:
            conn.close()
        self._slots.leave()

    def renew(self, conn: Connection) -> None:
        """Retire every connection that was opened before now, because the server failed `conn`.

        While the server still answers, this happens at most once in RENEW_SECONDS: a fresh connection to
        a database that is read-only for everybody does no better.
        """
        now = time.monotonic()
        if conn.generation == self._generation and (conn.closed or now >= self._renew_at):
            self._renew_at = now + RENEW_SECONDS
            self._generation += 1
            self.close()

    def close(self) -> None:
        """Close the idle connections."""
        while conn := self._pop():
            conn.close()

    def _open(self) -> Connection:
        generation = self._generation
        conn = self._connect()
        conn.generation = generation
        return conn

    def _take_idle(self) -> Connection | None:
        """Return an idle connection that is alive. Returns None if there is none."""
        now = time.monotonic()
        self._close_worn_out(now)
        while conn := self._pop():
            # Race: a connection that came back in the moment of a renewal has the old generation.
            is_retired = conn.generation != self._generation
            if not is_retired and not conn.is_worn_out(now) and not conn.is_hung_up():
                if conn.answers(now):
                    return conn
                self.renew(conn)
            conn.close()
        return None

    def _close_worn_out(self, now: float) -> None:
        """Close the connections that a burst has left behind and that few requests need."""
        try:
            while self._idle[0].is_worn_out(now):
                self._idle.popleft().close()
        except IndexError:
            return

    def _pop(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:  # race: another thread may have taken the last one
            return None
