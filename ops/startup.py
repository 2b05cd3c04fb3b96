"""What the service says and does once, when it starts."""

import logging
import warnings

import click
from jwt.warnings import InsecureKeyLengthWarning

from config import Settings
from db import Database, DatabaseUnavailable

log = logging.getLogger("app")


def warn_operator(settings: Settings) -> None:
    """Log one line for each setting that is unknown or insecure."""
    for doubt in settings.doubts():
        log.warning("unknown_setting: %s", doubt)
    for warning in settings.warnings():
        log.warning("insecure_setting: %s", warning)
    # PyJWT warns of a short key as well, with every token.
    warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)


def apply_schema(database: Database) -> None:
    """Create what schema.sql describes and the database lacks. A failure does not stop the start."""
    if click.get_current_context(silent=True):  # `flask init-db` does so itself, with a longer deadline
        return
    try:
        database.apply_schema()
    except DatabaseUnavailable as exc:
        log.error("schema_not_applied: %s; the service answers 503 until that is mended", exc)
