"""The slots that gunicorn's workers share: the bytes of one file, which every worker inherits.

gunicorn.conf.py creates the file; an environment variable tells the workers its descriptor.
"""

import os
import tempfile
from typing import IO

from runtime.shared_places import SharedPlaces

_DESCRIPTOR = "USER_SERVICE_HASH_SLOTS"  # from gunicorn.conf.py to its workers; not for operators


def create(folder: str) -> IO[bytes]:
    """Return a new file of slots. The caller keeps it open until the last worker has started.

    Nobody can remove the file, and the system frees it with the last worker. It lies in memory where the
    system allows that, in `folder` otherwise.
    """
    try:
        file: IO[bytes] = os.fdopen(os.memfd_create("hash-slots"), "wb")
    except (AttributeError, OSError):  # the system is not Linux, or forbids memfd_create
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    os.environ[_DESCRIPTOR] = str(file.fileno())
    return file


def inherited(count: int, *, waiting: int) -> SharedPlaces | None:
    """Return the `count` slots that the workers share. Returns None if one process serves alone.

    waiting: how many threads of this process may wait for a slot.
    """
    descriptor = os.environ.get(_DESCRIPTOR)
    return SharedPlaces(int(descriptor), count, waiting=waiting) if descriptor else None
