"""The key of development when several processes start at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev import secret_key


def test_key_is_the_same_for_all_that_start_at_once(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / str(number)
        barrier = threading.Barrier(4)

        def start(_: int, folder: Path = folder, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            return secret_key.read_or_make(folder)

        with ThreadPoolExecutor(4) as threads:
            keys = set(threads.map(start, range(4)))

        assert keys == {(folder / "secret_key").read_text()}
        assert len(list(folder.iterdir())) == 1
