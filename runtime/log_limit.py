"""Keeps a storm of refusals from becoming a storm of log lines."""

import threading

PERIOD_SECONDS = 60.0
MAX_KEYS = 1000  # that are remembered


class LogLimit:
    """Says when the next line about a key is due: once in PERIOD_SECONDS, in each process."""

    def __init__(self) -> None:
        self._due_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def is_due(self, key: str, *, now: float) -> bool:
        """Return whether a line about `key` is due. The next one is then due PERIOD_SECONDS later.

        now: of time.monotonic().
        """
        with self._lock:
            if self._due_at.get(key, now) > now:
                return False
            if len(self._due_at) >= MAX_KEYS:
                self._due_at = {name: at for name, at in self._due_at.items() if at > now}
            if len(self._due_at) >= MAX_KEYS:
                self._due_at.clear()  # a few lines twice are better than memory without a bound
            self._due_at[key] = now + PERIOD_SECONDS
            return True
