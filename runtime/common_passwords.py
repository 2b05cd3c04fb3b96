"""The passwords that attackers try first: the lines of common_passwords.txt, in NFC and lower case.

The first process reads the file before it forks, so all workers share one copy. A copy in memory and no mmap:
a deployment that overwrites the file in place would end a worker that has it mapped (SIGBUS).
"""

import unicodedata
from functools import cache
from itertools import pairwise
from pathlib import Path

from runtime.declarations import ConfigError

FILE = Path(__file__).with_suffix(".txt")
MIN_LINES = 10_000  # with fewer, a part of the file is missing


@cache
def load() -> bytes:
    """Return the text of FILE. Raises ConfigError if the file is missing or damaged."""
    try:
        text = FILE.read_bytes()
    except OSError as exc:
        raise _refusal(exc.strerror) from None
    if not is_whole(text):
        raise _refusal("the file is damaged")
    return text


def contains(password: str) -> bool:
    """Return whether a password is among the common ones. password: in NFC and lower case."""
    return has_line(load(), password.encode())


def has_line(text: bytes, line: bytes) -> bool:
    """Return whether a text of sorted lines has the line. The search halves the text at each step."""
    low, high = 0, len(text)
    while low < high:
        start = text.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = text.index(b"\n", start)
        middle = text[start:end]
        if middle == line:
            return True
        low, high = (end + 1, high) if middle < line else (low, start)
    return False


def is_whole(text: bytes) -> bool:
    """Return whether a text can be searched: enough lines, sorted, each one ended, in NFC and lower case."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return False
    *lines, rest = decoded.split("\n")
    is_folded = decoded == unicodedata.normalize("NFC", decoded).casefold()
    is_plain = "".join(lines).isprintable()  # not so with zeros, or with the line ends of Windows
    is_sorted = all(line < successor for line, successor in pairwise(lines))
    return is_folded and is_plain and is_sorted and not rest and len(lines) >= MIN_LINES


def _refusal(reason: str | None) -> ConfigError:
    return ConfigError({"PASSWORD_BLOCKLIST": f"needs {FILE} ({reason})"})
