"""A log line about a key once in a minute, in bounded memory."""

from runtime.log_limit import MAX_KEYS, LogLimit
from tests.support.races import at_once


def test_line_about_a_key_is_due_once_a_minute() -> None:
    limit = LogLimit()

    due = [limit.is_due("a", now=now) for now in (5.0, 5.0, 64.9, 65.0, 65.1, 124.9, 125.0)]

    assert due == [True, False, False, True, False, False, True]


def test_keys_are_counted_apart() -> None:
    limit = LogLimit()

    assert [limit.is_due(key, now=5.0) for key in ("a", "b", "a", "b")] == [True, True, False, False]


def test_line_is_due_for_one_of_many_threads() -> None:
    limit = LogLimit()

    assert sum(at_once(*[lambda: limit.is_due("a", now=5.0)] * 16)) == 1


def test_memory_is_bounded_while_new_keys_come() -> None:
    limit = LogLimit()

    for number in range(5 * MAX_KEYS):
        assert limit.is_due(f"{number}", now=5.0)
        assert len(limit._due_at) <= MAX_KEYS


def test_keys_that_are_due_again_make_room_for_new_ones() -> None:
    limit = LogLimit()
    for number in range(MAX_KEYS - 1):
        limit.is_due(f"{number}", now=5.0)
    limit.is_due("recent", now=60.0)

    limit.is_due("new", now=65.0)

    assert not limit.is_due("recent", now=65.0)
    assert len(limit._due_at) == 2
