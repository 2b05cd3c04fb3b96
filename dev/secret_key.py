"""The SECRET_KEY of development, kept in a file so that tokens outlive a restart."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from dev import StartError


def read_or_make(folder: Path) -> str:
    """Return the key in `folder`; the first call makes both. Raises StartError."""
    path = folder / "secret_key"
    try:
        folder.mkdir(exist_ok=True)
        if path.exists() and not path.stat().st_size:
            path.unlink()  # a full disk left an empty file
        if not path.exists():
            _make(path)
        return path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        raise StartError(f"{path} is damaged: delete it, and the next start makes a new key.") from None
    except OSError as exc:
        place = exc.filename or path
        raise StartError(
            f"{place} cannot be used ({exc.strerror}): make it yours to write, or set SECRET_KEY."
        ) from None


def _make(path: Path) -> None:
    """Make the key under another name, then link it.

    Race: of two processes that start at once, the first link wins, and no process reads half of a key.
    """
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix="secret_key.")
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
        with suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        os.unlink(unfinished)
