"""The pool of connections to PostgreSQL."""

import os
import time
import weakref
from collections import deque
from collections.abc import Callable

from runtime.bulkhead import Bulkhead, Full, TooLate
from runtime.connection import Connection, limit
from runtime.faults import DatabaseUnavailable

RENEW_SECONDS = 2.0


class PoolExhausted(DatabaseUnavailable):
    """Every pooled connection stayed in use for as long as a request may wait."""


class PoolFull(PoolExhausted):
    """As many as may wait for a pooled connection are waiting already."""


class Pool:
    """At most `size` connections, opened when first needed and kept; the last one used goes out first."""

    def __init__(
        self, connect: Callable[[], Connection], *, size: int, waiting: int, wait_seconds: float
    ) -> None:
        self._connect = connect
        self._size = size
        self._waiting = waiting
        self._wait_seconds = wait_seconds
        self._generation = 0
        self._renew_at = 0.0
        self._forget()
        # A connection shared by two processes mixes up their answers. psycopg2 does not close
        # what another process opened, so forgetting is enough.
        forget = weakref.WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def _forget(self) -> None:
        self._idle: deque[Connection] = deque()  # the one that was idle longest comes first
        self._places = Bulkhead(running=self._size, waiting=self._waiting)

    def take(self) -> Connection:
        """Return a connection that is alive, to be given back.

        Raises PoolFull at once or PoolExhausted in the end.
        """
        try:
            self._places.enter(until=min(time.monotonic() + self._wait_seconds, limit.at))
        except TooLate:
            raise PoolExhausted("every pooled connection stayed in use") from None
        except Full:
            raise PoolFull("too many threads wait for a pooled connection") from None
        try:
            return self._alive() or self._open()
        except BaseException:
            self._places.leave()
            raise

    def give_back(self, conn: Connection) -> None:
        """Keep a connection for the next caller, unless it is closed, renewed or left in a transaction."""
        if conn.is_idle() and conn.generation == self._generation:
            conn.idle_since = time.monotonic()
            self._idle.append(conn)
        else:
            conn.close()
        self._places.leave()

    def renew(self, conn: Connection) -> None:
        """Use no connection again that was made before now, because the server failed `conn`.

        Where the server still answers, not more often than every RENEW_SECONDS: a fresh connection to
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

    def _alive(self) -> Connection | None:
        now = time.monotonic()
        self._close_worn_out(now)
        while conn := self._pop():
            is_renewed = conn.generation != self._generation  # it came back at the moment of a renewal
            if not is_renewed and not conn.is_worn_out(now) and not conn.is_hung_up():
                if conn.answers(now):
                    return conn
                self.renew(conn)
            conn.close()
        return None

    def _close_worn_out(self, now: float) -> None:
        """Close what was idle for too long where few requests need few connections."""
        try:
            while self._idle[0].is_worn_out(now):
                self._idle.popleft().close()
        except IndexError:
            return

    def _pop(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:  # another thread may have taken the last one
            return None
