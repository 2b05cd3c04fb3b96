"""Makes runtime/common_passwords.txt of lists that are ordered by frequency, the better list first:

    python -m dev.common_passwords common-passwords.txt.gz 10_million_password_list_top_1M.txt

runtime/common_passwords.LICENSE tells where the two lists come from.
"""

import gzip
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from runtime import common_passwords

MIN_CHARACTERS = 8  # the least PASSWORD_MIN_LENGTH
MAX_LINES = 20_000


def main() -> None:
    lists = [lines_of(Path(name)) for name in sys.argv[1:]]
    if not lists:
        sys.exit(__doc__)
    common_passwords.FILE.write_bytes(text_of(lists))


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, which may be compressed with gzip."""
    raw = path.read_bytes()
    yield from (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().split("\n")


def text_of(lists: Iterable[Iterable[str]]) -> bytes:
    """Return the first MAX_LINES passwords as sorted lines."""
    passwords = (unicodedata.normalize("NFC", line).casefold() for line in chain.from_iterable(lists))
    # The few others of these lists were damaged by a wrong decoding.
    usable = (each for each in passwords if len(each) >= MIN_CHARACTERS and each.isascii())
    chosen = islice(dict.fromkeys(usable), MAX_LINES)
    return b"".join(line + b"\n" for line in sorted(each.encode() for each in chosen))


if __name__ == "__main__":
    main()
