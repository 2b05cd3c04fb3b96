"""The commands that an operator runs by hand: `flask --app app init-db` and `flask --app app purge`."""

import click
from flask import Flask

from auth import housekeeping
from db import Database, DatabaseUnavailable

INIT_DB_SECONDS = 3600.0  # time for an index on a large table; no client waits for an answer


def init_app(app: Flask, database: Database) -> None:
    """Add the commands, which work on `database`, to `app`."""

    @app.cli.command("init-db")
    def init_db() -> None:
        """Create what schema.sql describes and the database lacks."""
        try:
            database.apply_schema(seconds=INIT_DB_SECONDS, again=True)
        except DatabaseUnavailable as exc:
            raise click.ClickException(str(exc)) from None
        click.echo("The database has everything that schema.sql describes.")

    @app.cli.command("purge")
    def purge() -> None:
        """Remove expired sessions and links, full budgets of throttling, and mails older than a week."""
        removed = 0
        try:
            for count in housekeeping.batches(database):
                removed += count
        except DatabaseUnavailable as exc:
            raise click.ClickException(f"{exc} ({removed} rows were removed)") from None
        click.echo(f"Rows removed: {removed}")
