"""Databases of the tests, reached past the service."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2

MakeDatabase = Callable[..., str]
Sql = Callable[..., list[tuple[Any, ...]]]


def run_sql(url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run one statement in autocommit and return its rows."""
    with connected(url) as run:
        return run(statement, *parameters)


@contextmanager
def connected(url: str) -> Iterator[Sql]:
    """Yield a function that runs one statement in autocommit and returns its rows, on one connection."""
    conn = psycopg2.connect(url)
    conn.autocommit = True

    def run(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with conn.cursor() as cur:
            cur.execute(statement, parameters or None)
            if not cur.description:
                assert not (cur.statusmessage or "").startswith("SELECT"), (
                    "rows without columns are no rows here"
                )
                return []
            return cur.fetchall()

    try:
        yield run
    finally:
        conn.close()


@contextmanager
def held_open(url: str, statement: str, *, commit: bool = False) -> Iterator[None]:
    """Keep a transaction open that has run `statement`, with the locks that it took.

    commit: at the end of the block; otherwise the transaction is rolled back.
    """
    holder = psycopg2.connect(url)
    try:
        with holder.cursor() as cur:
            cur.execute(statement)
        yield
        if commit:
            holder.commit()
    finally:
        holder.close()


def copy_data(source: Path, data: Path) -> None:
    """Copy a data folder of PostgreSQL, with the owner of every file."""
    subprocess.run(["cp", "-a", str(source), str(data)], check=True)


def on_database(server_url: str, name: str) -> str:
    """Return `server_url` with another database."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
