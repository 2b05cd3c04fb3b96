"""For development and tests; never part of the image. Here: what the modules of this folder share."""

from pathlib import Path

DATA_FOLDER = Path(__file__).parents[1] / ".data"
POSTGRES_FOLDER = DATA_FOLDER / "postgres"


class StartError(Exception):
    """A sentence for the developer: why the service or its PostgreSQL cannot start on this machine."""
