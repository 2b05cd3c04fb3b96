"""The time now in UTC, and times as text for answers and log lines: ISO 8601 with milliseconds and Z."""

from datetime import datetime, timezone


def now() -> datetime:
    """Return the time now, aware and in UTC."""
    return datetime.now(timezone.utc)


def to_iso(at: datetime) -> str:
    """Return `at` as text, such as 2026-01-02T03:04:05.678Z. A naive `at` is in UTC."""
    if at.tzinfo is not None:
        at = at.astimezone(timezone.utc).replace(tzinfo=None)
    return _to_iso(at)


def seconds_to_iso(seconds: float) -> str:
    """Return seconds since the epoch as text, such as 2026-01-02T03:04:05.678Z."""
    return _to_iso(datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None))


def _to_iso(naive_utc: datetime) -> str:
    return naive_utc.isoformat(timespec="milliseconds") + "Z"
